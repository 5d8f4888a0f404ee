"""Workspaces as their users write them, for the tests of plans."""

from typing import Any

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.plan import Known, NodeFacts, PlanError, PlanReason, plan

CPU = {"kaito.sh/accelerator": "cpu"}


def workspace(
    preset: dict[str, Any],
    *,
    count: int = 1,
    runtime: str | None = None,
    annotations: dict[str, str] | None = None,
    resource: dict[str, Any] | None = None,
    inference: dict[str, Any] | None = None,
    **spec: Any,
) -> Workspace:
    """Return a Workspace of a preset, with whatever else is asked for."""
    annotations = dict(annotations or {})
    annotations |= {"kaito.sh/runtime": runtime} if runtime else {}
    served = ({"preset": preset} if preset else {}) | (inference or {})
    return parse(
        Workspace,
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {
                "name": "w",
                "namespace": "default",
                "annotations": annotations,
            },
            "resource": {
                "count": count,
                "labelSelector": {"matchLabels": {"apps": "x"}},
                **(resource or {}),
            },
            **({"inference": served} if served else {}),
            **spec,
        },
    )


def refusal(
    spec: Workspace, facts: NodeFacts | None = None, known: Known | None = None
) -> tuple[PlanReason, str]:
    """Return why a Workspace cannot be served."""
    try:
        plan(spec, facts, known=known or Known())
    except PlanError as error:
        return error.reason, str(error)
    raise AssertionError("it is served")
