"""Workspaces are counted by phase."""

from typing import Any

from prometheus_client import CollectorRegistry

from pykaito.reconcilers.metrics import PHASES, MachineCount, WorkspaceCount


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
