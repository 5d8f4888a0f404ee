"""What Karpenter is started with and has on offer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import instance_types, karpenter
from hack.cluster.commands import ClusterError
from hack.cluster.instance_types import INSTANCE_TYPES, InstanceType
from hack.cluster.state import State


@pytest.fixture(params=INSTANCE_TYPES, ids=lambda each: each.name)
def instance_type(request: pytest.FixtureRequest) -> InstanceType:
    found: InstanceType = request.param
    return found


def rendered(instance_type: InstanceType) -> dict[str, Any]:
    (found,) = (
        each for each in instance_types.render() if each["name"] == instance_type.name
    )
    return found


def test_an_instance_type_offers_its_gpus(instance_type: InstanceType) -> None:
    resources = rendered(instance_type)["resources"]
    assert resources["nvidia.com/gpu"] == str(instance_type.gpus)
    assert resources["cpu"] == str(instance_type.cpus)


def test_an_instance_type_is_offered_in_every_zone_both_ways(
    instance_type: InstanceType,
) -> None:
    offerings = rendered(instance_type)["offerings"]
    offered = {
        tuple(value for each in offering["requirements"] for value in each["values"])
        for offering in offerings
    }
    assert offered == {
        (capacity, zone)
        for capacity in ("spot", "on-demand")
        for zone in instance_types.ZONES
    }


def test_spot_is_the_cheaper_way(instance_type: InstanceType) -> None:
    offerings = rendered(instance_type)["offerings"]
    price = {
        offering["requirements"][0]["values"][0]: offering["price"]
        for offering in offerings
    }
    assert price["spot"] < price["on-demand"]


def test_karpenter_is_told_its_kubeconfig_by_its_environment() -> None:
    command = karpenter.core_command(Path("/bin/core"), Path("/types"), Path("/config"))
    assert command[:3] == ("env", "KUBECONFIG=/config", "/bin/core")


def test_the_two_listen_on_ports_of_their_own() -> None:
    command = (
        *karpenter.core_command(Path("core"), Path("types"), Path("config")),
        *karpenter.kubelets_command(Path("kwok"), Path("config")),
    )
    ports = [
        flag.rpartition("=")[2].rpartition(":")[2]
        for flag in command
        if flag.startswith(
            ("--metrics-port", "--health-probe-port", "--server-address")
        )
    ]
    assert len(ports) == len(set(ports)) == 3


def test_kwok_minds_no_node_but_the_providers() -> None:
    command = karpenter.kubelets_command(Path("kwok"), Path("config"))
    managed = [flag for flag in command if flag.startswith("--manage")]
    assert managed == [
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"
    ]


def test_kwok_is_told_how_to_play_nodes_and_pods() -> None:
    (config,) = (
        flag.removeprefix("--config=")
        for flag in karpenter.kubelets_command(Path("kwok"), Path("config"))
        if flag.startswith("--config=")
    )
    stages = list(yaml.safe_load_all(Path(config).read_text()))
    assert {stage["kind"] for stage in stages} == {"Stage"}
    assert {stage["spec"]["resourceRef"]["kind"] for stage in stages} == {"Node", "Pod"}


@pytest.mark.parametrize("do", [karpenter.up, karpenter.down])
@pytest.mark.parametrize("provider", ["kind", "kubeconfig"])
def test_beside_another_cluster_it_says_where_it_would_run(
    tmp_path: Path, do: Callable[[State], None], provider: str
) -> None:
    (tmp_path / "env.json").write_text(json.dumps({"provider": provider}))
    with pytest.raises(ClusterError, match=f"the cluster in use is: {provider}"):
        do(State(tmp_path))
