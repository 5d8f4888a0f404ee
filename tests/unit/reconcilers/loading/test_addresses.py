"""Only pods that load a preset's model are asked, and only at addresses of pods."""

from typing import Any

import pytest

from pykaito.reconcilers.inference.loading.addresses import address
from tests.unit.reconcilers.kubelet import NAME, pod, running, template, waiting
from tests.unit.reconcilers.workspaces import raw_workspace

LOADING = running(started=False, ready=False)


def asked(found: dict[str, Any], workspace: Any = None) -> str | None:
    return address(found, workspace or raw_workspace())


@pytest.mark.parametrize(
    ("ip", "url"),
    [
        ("10.0.0.1", "http://10.0.0.1:5000/health"),
        ("fd00::12", "http://[fd00::12]:5000/health"),
    ],
)
def test_a_server_that_loads_is_asked(ip: str, url: str) -> None:
    assert asked(pod(LOADING, podIP=ip)) == url


@pytest.mark.parametrize(
    "containers",
    [
        (),
        (waiting("ContainerCreating"),),
        (running(started=True, ready=False),),
        (running(started=True, ready=True),),
        (running("sidecar", started=False),),
    ],
)
def test_one_that_does_not_run_or_has_loaded_is_not(
    containers: tuple[dict[str, Any], ...],
) -> None:
    assert asked(pod(*containers)) is None


def test_one_that_leaves_is_not() -> None:
    leaving = pod(LOADING)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert asked(leaving) is None


def test_a_pod_of_a_users_own_template_is_not() -> None:
    assert asked(pod(LOADING), template()) is None
    both = template()
    both["inference"]["preset"] = {"name": "falcon-7b"}
    assert asked(pod(LOADING), both) is None


def test_a_pod_without_a_workspace_is_not() -> None:
    assert address(pod(LOADING), None) is None


@pytest.mark.parametrize(
    "ip",
    [
        *("", "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1"),  # noqa: S104 - it is refused
        *("::", "hub.example", "10.0.0.1:80@evil.example", "10.0.0.1/x"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00::1%@x"),
    ],
)
def test_an_address_that_is_no_pods_is_not_asked(ip: str) -> None:
    assert asked(pod(LOADING, podIP=ip)) is None


def test_a_pod_on_its_nodes_network_is_not_asked() -> None:
    assert asked(pod(LOADING, spec={"hostNetwork": True})) is None


def test_the_pod_asked_is_the_one_named_like_its_workspace() -> None:
    named = pod(LOADING)
    assert named["status"]["containerStatuses"][0]["name"] == NAME
    other = raw_workspace(metadata={"name": "another"})
    assert asked(named, other) is None
