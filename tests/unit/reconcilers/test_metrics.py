"""Workspaces and Machines are counted; loading is told while it lasts."""

from typing import Any

from prometheus_client import CollectorRegistry

from pykaito.operator.objects import Key
from pykaito.reconcilers.inference.loading import Report, Stage
from pykaito.reconcilers.metrics import (
    PHASES,
    LoadProgress,
    MachineCount,
    WorkspaceCount,
)


def workspace(*true: str, deleting: bool = False) -> dict[str, Any]:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    conditions = [{"type": kind, "status": "True"} for kind in true]
    return {"metadata": metadata, "status": {"conditions": conditions}}


def counts(*workspaces: dict[str, Any]) -> dict[str, float | None]:
    registry = CollectorRegistry()
    registry.register(WorkspaceCount(lambda: workspaces))
    name = "kaito_workspace_count"
    return {
        phase: registry.get_sample_value(name, {"phase": phase}) for phase in PHASES
    }


def test_each_workspace_counts_in_one_phase() -> None:
    counted = counts(
        workspace("WorkspaceSucceeded", "Ready"),
        workspace("Stalled"),
        workspace("Reconciling"),
        workspace("Reconciling"),
        workspace("WorkspaceSucceeded", deleting=True),
    )
    assert counted == {"succeeded": 1, "error": 1, "pending": 2, "deleting": 1}


def test_a_workspace_without_a_status_yet_is_pending() -> None:
    assert counts({"metadata": {}})["pending"] == 1


def test_a_phase_without_workspaces_is_told_as_zero() -> None:
    assert counts() == dict.fromkeys(PHASES, 0)


def test_machines_are_counted_by_who_serves_them_and_how_far_they_are() -> None:
    def machine(provisioner: str, phase: str | None) -> dict[str, Any]:
        status = {"status": {"phase": phase}} if phase else {}
        return {"spec": {"provisioner": provisioner}, **status}

    registry = CollectorRegistry()
    machines = [
        machine("karpenter", "Ready"),
        machine("karpenter", "Ready"),
        machine("karpenter", None),
        machine("azure_arm", "Replacing"),
    ]
    registry.register(MachineCount(lambda: machines))
    counted = {
        (sample.labels["provisioner"], sample.labels["phase"]): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    assert counted == {
        ("karpenter", "Ready"): 2,
        ("karpenter", "Pending"): 1,
        ("azure_arm", "Replacing"): 1,
    }


def progress(
    *reports: tuple[Key, Report],
) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(LoadProgress(lambda: reports))
    return {
        tuple(sample.labels[label] for label in ("namespace", "name", "stage")): (
            sample.value
        )
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "kaito_workspace_load_progress"
    }


PHI = Key("team", "phi")


def test_loading_is_told_for_each_workspace_by_its_stage() -> None:
    told = progress(
        (PHI, Report(Stage.DOWNLOADING, 0.43)),
        (Key("other", "phi"), Report(Stage.LOADING, 0.8)),
        (Key("other", "falcon"), Report(Stage.GENERATING)),
    )
    assert told == {
        ("team", "phi", "download"): 0.43,
        ("other", "phi", "load"): 0.8,
        ("other", "falcon", "first_token"): -1,
    }


def test_of_several_servers_the_furthest_behind_counts() -> None:
    reports = [
        (PHI, Report(Stage.LOADING, 0.1)),
        (PHI, Report(Stage.DOWNLOADING, 0.9)),
        (PHI, Report(Stage.DOWNLOADING, 0.7)),
        (PHI, Report(Stage.GENERATING)),
    ]
    for order in (reports, reports[::-1]):
        assert progress(*order) == {("team", "phi", "download"): 0.7}


def test_nothing_is_told_where_nothing_loads() -> None:
    assert progress() == {}
