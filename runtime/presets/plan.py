"""What a Workspace becomes: a pure function of its spec and the catalogue.

The reconcilers, the command line and the tests all call :func:`plan`, so that
what is said before and what is done after cannot differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pykaito.api import labels
from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    find_preset,
)
from pykaito.runtime.presets.gpu import GpuFacts
from pykaito.runtime.presets.sizing import Size, TooLargeError, on_known, on_unknown

Runtime = Literal["transformers"]

Dtype = Literal["auto", "float16", "bfloat16"]

GPU_RESOURCE = "nvidia.com/gpu"


class PlanReason(StrEnum):
    """Why a spec cannot be served, as one word."""

    MODEL_DOES_NOT_FIT = "ModelDoesNotFit"
    PRESET_NOT_FOUND = "PresetNotFound"
    PRESET_PRIVATE = "PresetPrivate"
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    TEMPLATE_NOT_SUPPORTED = "TemplateNotSupported"
    TUNING_NOT_SUPPORTED = "TuningNotSupported"


class PlanError(Exception):
    """The spec cannot be served; ``reason`` names the page that explains it."""

    def __init__(self, reason: PlanReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes, GPUs and model server of a Workspace."""

    preset: Preset
    runtime: Runtime
    #: Nodes, one replica of the model on each.
    nodes: int
    #: GPUs that a replica takes of its node.
    gpus_per_node: int
    #: What the model computes in on those GPUs.
    dtype: Dtype
    #: Tokens that fit into the GPUs' memory, at most what the model was made for.
    context_length: int
    #: The name that clients send as ``model``.
    served_model_name: str
    #: Image whose /workspace/weights is the model; empty to load from the hub.
    weights_image: str
    image_pull_secrets: tuple[str, ...]
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...] = ()

    @property
    def node_resources(self) -> dict[str, str]:
        """What each node must have allocatable, as Kubernetes quantities."""
        return {GPU_RESOURCE: str(self.gpus_per_node)}


def plan(
    workspace: Workspace, gpu: GpuFacts | None = None, offers: Iterable[GpuFacts] = ()
) -> Plan:
    """Return what serves the Workspace.

    Args:
        workspace: its spec and annotations.
        gpu: the GPUs of each node it gets; None when nothing is known of them,
            which takes as many GPUs as the catalogue says.
        offers: nodes to propose when the model does not fit, smallest first.

    Raises:
        PlanError: nothing can, and why.
    """
    if workspace.tuning is not None:
        raise PlanError(
            PlanReason.TUNING_NOT_SUPPORTED,
            "tuning: this release serves models and does not tune them yet",
        )
    if workspace.inference is None or workspace.inference.preset is None:
        raise PlanError(
            PlanReason.TEMPLATE_NOT_SUPPORTED,
            "inference.template: this release serves presets; name one in "
            "inference.preset.name",
        )
    spec = workspace.inference.preset
    preset = resolve(spec)
    options = spec.preset_options or api.PresetOptions()
    runtime = select_runtime(workspace)
    check_runtime(preset)
    size = select_size(workspace, preset, gpu, offers)
    return Plan(
        preset=preset,
        runtime=runtime,
        nodes=workspace.resource.count,
        gpus_per_node=size.gpus,
        dtype=preset.dtype if gpu is None or gpu.bfloat16 else "float16",
        context_length=size.context_length,
        served_model_name=spec.name.rpartition("/")[2].lower(),
        weights_image=options.image or "",
        image_pull_secrets=options.image_pull_secrets,
        warnings=size.warnings,
    )


def select_size(
    workspace: Workspace,
    preset: Preset,
    gpu: GpuFacts | None,
    offers: Iterable[GpuFacts],
) -> Size:
    """Return what a replica takes of its node.

    Raises:
        PlanError: it does not fit.
    """
    adapters = len(workspace.inference.adapters) if workspace.inference else 0
    if gpu is None:
        return on_unknown(preset, adapters=adapters)
    try:
        return on_known(
            preset,
            gpu,
            adapters=adapters,
            offers=offers,
            unchecked=labels.BYPASS_RESOURCE_CHECKS in workspace.metadata.annotations,
        )
    except TooLargeError as error:
        raise PlanError(
            PlanReason.MODEL_DOES_NOT_FIT, f"inference.preset.name: {error}"
        ) from None


def check_runtime(preset: Preset) -> None:
    """Check that the runtime of this release serves the model.

    Raises:
        PlanError: it does not.
    """
    if not preset.transformers:
        raise PlanError(
            PlanReason.RUNTIME_NOT_SUPPORTED,
            f"inference.preset.name: {preset.name} is not served by the runtime "
            "'transformers', the only one of this release; name another model",
        )


def resolve(spec: api.Preset) -> Preset:
    """Look the preset up and check that its weights can be had.

    Raises:
        PlanError: the name is unknown, or its weights need an image.
    """
    try:
        preset = find_preset(spec.name)
    except UnknownPresetError as error:
        raise PlanError(
            PlanReason.PRESET_NOT_FOUND, f"inference.preset.name: {error}"
        ) from None
    if preset.private_only and spec.access_mode is not api.AccessMode.PRIVATE:
        raise PlanError(
            PlanReason.PRESET_PRIVATE,
            f"inference.preset.accessMode: the licence of {preset.name} "
            f"({preset.licence}) forbids hosting it for anyone; set accessMode to "
            "private and presetOptions.image to an image with its weights",
        )
    return preset


def select_runtime(workspace: Workspace) -> Runtime:
    """Return the runtime that the annotation names, or the default.

    Raises:
        PlanError: the annotation names no runtime of this release.
    """
    named = workspace.metadata.annotations.get(labels.RUNTIME)
    if named in {None, "transformers"}:
        return "transformers"
    raise PlanError(
        PlanReason.RUNTIME_NOT_SUPPORTED,
        f"metadata.annotations[{labels.RUNTIME}]: found {named!r}; this release "
        "has the runtime 'transformers'",
    )
