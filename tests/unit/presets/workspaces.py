"""Workspaces as their users write them, for the tests of plans."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets import plan as plans
from pykaito.runtime.presets.gpu import GpuFacts
from pykaito.runtime.presets.plan import Known, NodeFacts, Plan, PlanError, PlanReason
from pykaito.runtime.presets.runtimes import Runtime

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


def plan(
    spec: Workspace,
    facts: NodeFacts | None = None,
    offers: Iterable[GpuFacts] = (),
    known: Known | None = None,
    default_runtime: Runtime = "transformers",
) -> Plan:
    """Return the plan where the operator's default is another runtime than vLLM."""
    known = replace(known or Known(), default_runtime=default_runtime)
    return plans.plan(spec, facts, offers, known)


def refusal(
    spec: Workspace,
    facts: NodeFacts | None = None,
    known: Known | None = None,
    default_runtime: Runtime = "transformers",
) -> tuple[PlanReason, str]:
    """Return why a Workspace cannot be served."""
    try:
        plan(spec, facts, known=known, default_runtime=default_runtime)
    except PlanError as error:
        return error.reason, str(error)
    raise AssertionError("it is served")
