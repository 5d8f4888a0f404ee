"""What a Workspace becomes: a pure function of its spec and the catalogue.

The reconcilers, the command line and the tests all call :func:`plan`, so that
what is said before and what is done after cannot differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pykaito.api import labels
from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    find_preset,
)
from pykaito.runtime.presets.gpu import GpuFacts
from pykaito.runtime.presets.inference_config import NO_CONFIG, InferenceConfig
from pykaito.runtime.presets.sizing import Size, TooLargeError, on_known, on_unknown

Runtime = Literal["transformers"]

Dtype = Literal["auto", "float16", "bfloat16"]

GPU_RESOURCE = "nvidia.com/gpu"


class PlanReason(StrEnum):
    """Why a spec cannot be served, as one word."""

    CONFIG_INVALID = "ConfigInvalid"
    CONFIG_KEY_MISSING = "ConfigKeyMissing"
    CONFIG_NOT_FOUND = "ConfigNotFound"
    MODEL_DOES_NOT_FIT = "ModelDoesNotFit"
    PRESET_NOT_FOUND = "PresetNotFound"
    PRESET_PRIVATE = "PresetPrivate"
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    TEMPLATE_NOT_SUPPORTED = "TemplateNotSupported"
    TUNING_NOT_SUPPORTED = "TuningNotSupported"


class PlanError(Exception):
    """The spec cannot be served; ``reason`` names the page that explains it.

    ``terminal``: only a person can mend it. What is not is tried again.
    """

    def __init__(
        self, reason: PlanReason, message: str, *, terminal: bool = True
    ) -> None:
        self.reason = reason
        self.terminal = terminal
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Known:
    """What was looked up for a Workspace beside its spec."""

    #: The model, where the catalogue does not have it.
    preset: Preset | None = None
    config: InferenceConfig = NO_CONFIG


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class ModelServer:
    """The server of a preset, one on each node."""

    preset: Preset
    runtime: Runtime
    #: What the model computes in.
    dtype: Dtype
    #: Tokens that fit into the memory, at most what the model was made for.
    context_length: int
    #: The name that clients send as ``model``.
    served_model_name: str
    #: Image whose /workspace/weights is the model; empty to load from the hub.
    weights_image: str
    #: Secret whose key HF_TOKEN the hub asks for; empty where it does not.
    model_access_secret: str = ""
    #: Commit on the hub that is loaded; empty for the newest, or from an image.
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes, their resources and the model server of a Workspace."""

    #: Nodes, one replica on each.
    nodes: int
    #: What a replica takes of its node, as Kubernetes quantities.
    node_resources: Mapping[str, str]
    #: What serves the model; None where the user's own template does.
    server: ModelServer | None
    #: Secrets to pull images with, each once.
    image_pull_secrets: tuple[str, ...] = ()
    #: What is legal and likely not meant, as sentences for people.
    warnings: tuple[str, ...] = ()
    #: What is in the memory of each GPU, or of the node; None when nothing is known
    #: of them, when the weights exceed it, and for a pod template.
    memory: MemoryBreakdown | None = None

    @property
    def gpus_per_node(self) -> int:
        """GPUs that a replica takes of its node."""
        return int(self.node_resources.get(GPU_RESOURCE, "0"))


def plan(
    workspace: Workspace,
    gpu: GpuFacts | None = None,
    offers: Iterable[GpuFacts] = (),
    known: Known = NOTHING_KNOWN,
) -> Plan:
    """Return what serves the Workspace.

    Args:
        workspace: its spec and annotations.
        gpu: the GPUs of each node it gets; None when nothing is known of them,
            which takes as many GPUs as the catalogue says.
        offers: nodes to propose when the model does not fit, smallest first.
        known: what was looked up beside the spec.

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
    preset = resolve(spec, known)
    options = spec.preset_options or api.PresetOptions()
    runtime = select_runtime(workspace)
    check_runtime(preset)
    size = select_size(workspace, preset, gpu, offers)
    return Plan(
        nodes=workspace.resource.count,
        node_resources={GPU_RESOURCE: str(size.gpus)},
        server=ModelServer(
            preset=preset,
            runtime=runtime,
            dtype=preset.dtype if gpu is None or gpu.bfloat16 else "float16",
            context_length=size.context_length,
            served_model_name=spec.name.rpartition("/")[2].lower(),
            weights_image=options.image or "",
            model_access_secret=options.model_access_secret or "",
            revision="" if options.image else preset.revision,
        ),
        image_pull_secrets=options.image_pull_secrets,
        warnings=size.warnings,
        memory=size.memory,
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


def resolve(spec: api.Preset, known: Known = NOTHING_KNOWN) -> Preset:
    """Look the preset up and check that its weights can be had.

    Raises:
        PlanError: the name is unknown, or its weights need an image.
    """
    try:
        preset = known.preset or find_preset(spec.name)
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
