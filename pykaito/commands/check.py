"""What is wrong with a Workspace before anything is applied: pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pykaito.api.parse import parse
from pykaito.api.unknown import unknown_fields
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.api.validate import normalized, violations
from pykaito.commands.makers import doubts_of_maker
from pykaito.commands.surroundings import Surroundings, in_namespace
from pykaito.operator.objects import Key
from pykaito.reconcilers.config_content import (
    FIELD,
    Config,
    read_config,
    read_training_config,
)
from pykaito.reconcilers.gpu_facts import offers
from pykaito.reconcilers.hub.folder import find_offline
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.reconcilers.instance_types import check_instance_type
from pykaito.reconcilers.node_facts import node_facts
from pykaito.reconcilers.workspace.makers import maker_of
from pykaito.runtime.presets.inference_config import NO_CONFIG
from pykaito.runtime.presets.plan import Known, Plan, PlanError, plan


class RefusedError(Exception):
    """A Workspace that would be refused, or that nothing would serve.

    Attributes:
        faults: each names the Workspace, the field, what was found and what would
            be right.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Checked:
    """A Workspace that can be served, and how."""

    obj: Mapping[str, Any]
    workspace: Workspace
    plan: Plan
    #: The provisioner that makes what nodes it lacks, None where none does.
    maker: str | None
    #: The settings of its model server, None for none.
    config: ConfigFile | None
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...]


def check(obj: Mapping[str, Any], around: Surroundings) -> Checked:
    """Return the Workspace and the plan of what serves it.

    Raises:
        RefusedError: it would be refused, or nothing would serve it; with every
            fault there is.
    """
    obj = in_namespace(obj, around.namespace)
    faults = [*unknown_fields(obj), *(broken := violations(obj))]
    if broken:
        raise RefusedError(*(f"{_name(obj)}: {fault}" for fault in faults))
    workspace = parse(Workspace, normalized(obj))
    refusals: list[PlanError] = []
    warnings: list[str] = []
    config, planned, maker = None, None, None
    try:
        warnings += check_instance_type(workspace)
        maker = maker_of(workspace, around.provisioner)
    except PlanError as error:
        refusals.append(error)
    try:
        _check_training(workspace, around)
        config = _config(workspace, around)
        planned = _plan(workspace, around, config)
    except PlanError as error:
        refusals.append(error)
    wrong = [*map(str, faults), *(f"{error} ({error.reason})" for error in refusals)]
    if planned is None or wrong:
        raise RefusedError(*(f"{_name(obj)}: {fault}" for fault in wrong))
    return Checked(
        obj,
        workspace,
        planned,
        maker,
        config.file if config else None,
        (
            *warnings,
            *doubts_of_maker(workspace, maker),
            *_not_among(workspace, config),
            *planned.warnings,
        ),
    )


def _plan(workspace: Workspace, around: Surroundings, config: Config | None) -> Plan:
    """Return what serves the Workspace.

    Raises:
        PlanError: nothing can, as far as can be known without a network.
    """
    preset = None
    if workspace.inference and workspace.inference.preset:
        preset = find_offline(workspace.inference.preset, around.model_configs)
    known = Known(
        preset=preset,
        config=config.settings if config else NO_CONFIG,
        default_runtime=around.default_runtime,
    )
    # No node is known here: the instance type says what GPUs there will be.
    facts = node_facts(workspace, nodes=())
    return plan(workspace, facts, offers(workspace.resource.instance_type), known)


def _check_training(workspace: Workspace, around: Surroundings) -> None:
    """Check the parameters of a tuning job, if the files have them.

    Raises:
        PlanError: they are wrong.
    """
    if workspace.tuning and workspace.tuning.config:
        at = Key(workspace.metadata.namespace, workspace.tuning.config)
        if found := around.config_maps.get(at):
            read_training_config(found, at, workspace.tuning.method)


def _config(workspace: Workspace, around: Surroundings) -> Config | None:
    """Return the settings of the Workspace's model server, if the files have them.

    Raises:
        PlanError: they are wrong.
    """
    named = (workspace.inference and workspace.inference.config) or ""
    at = Key(workspace.metadata.namespace, named)
    found = around.config_maps.get(at)
    return read_config(found, at, named) if found is not None else None


def _not_among(workspace: Workspace, config: Config | None) -> Iterator[str]:
    named = workspace.inference and workspace.inference.config
    if named and config is None:
        yield (
            f"{FIELD}: ConfigMap {named} is not in these files; its settings are not "
            "in the plan"
        )


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    parts = (metadata.get("namespace"), metadata.get("name"))
    return f"Workspace {'/'.join(str(part) for part in parts if part)}".strip()
