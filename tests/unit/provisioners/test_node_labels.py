"""Labels of nodes belong to their user, to their kind, or to somebody else."""

from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1alpha1.machine import Machine
from pykaito.provisioners.errors import InvalidRequestError
from pykaito.provisioners.node_labels import KUBERNETES, check_labels, traits


def asking_for(labels: dict[str, str], **spec: Any) -> Machine:
    asked = {"provisioner": "x", "instanceType": "Standard_A", "labels": labels}
    metadata = {"name": "m", "namespace": "default"}
    return parse(
        Machine,
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Machine",
            "metadata": metadata,
            "spec": asked | spec,
        },
    )


def check(machine: Machine, free: tuple[str, ...] = ()) -> None:
    reserved = {**KUBERNETES, "kubernetes.azure.com": "AKS"}
    check_labels(machine, traits(machine), reserved, free)


@pytest.mark.parametrize(
    "label", ["apps", "example.com/a", "notkubernetes.io/a", "kaito.sh/team"]
)
def test_a_label_of_a_domain_of_ones_own_is_taken(label: str) -> None:
    check(asking_for({label: "a"}))


@pytest.mark.parametrize(
    ("label", "who"),
    [
        ("kubernetes.io/foo", "Kubernetes"),
        ("node-role.kubernetes.io/gpu", "Kubernetes"),
        ("k8s.io/foo", "Kubernetes"),
        ("kubernetes.azure.com/mode", "AKS"),
    ],
)
def test_a_label_of_somebody_elses_domain_is_refused(label: str, who: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(asking_for({label: "x"}))
    assert caught.value.field == "spec.labels"
    assert str(caught.value) == (
        f"found {label!r}, which only {who} may set; use a key of a domain of your own"
    )


def test_a_domain_below_a_reserved_one_may_be_free() -> None:
    free = ("node.kubernetes.io",)
    check(asking_for({"node.kubernetes.io/a": "b"}), free)
    check(asking_for({"deep.node.kubernetes.io/a": "b"}), free)
    with pytest.raises(InvalidRequestError):
        check(asking_for({"kubernetes.io/a": "b"}), free)


@pytest.mark.parametrize(
    ("label", "fits", "does_not"),
    [
        ("kubernetes.io/os", "linux", "windows"),
        ("kubernetes.io/arch", "amd64", "riscv64"),
        ("node.kubernetes.io/instance-type", "STANDARD_a", "Standard_B"),
        ("topology.kubernetes.io/zone", "west-1", "west-2"),
    ],
)
def test_a_label_that_says_what_node_it_is_has_to_be_true(
    label: str, fits: str, does_not: str
) -> None:
    check(asking_for({label: fits}, zones=["west-1"]))
    with pytest.raises(InvalidRequestError, match=f"found {label}={does_not}, and"):
        check(asking_for({label: does_not}, zones=["west-1"]))


def test_any_zone_is_possible_where_none_is_named() -> None:
    check(asking_for({"topology.kubernetes.io/zone": "west-2"}))
