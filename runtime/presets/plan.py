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
from pykaito.runtime.presets import annotations
from pykaito.runtime.presets.annotations import accelerator
from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    find_preset,
)
from pykaito.runtime.presets.cpu import CpuFacts
from pykaito.runtime.presets.cpu_sizing import on_cpu
from pykaito.runtime.presets.doubts import (
    doubts_of_any,
    doubts_of_preset,
    doubts_of_template,
    served_name,
)
from pykaito.runtime.presets.gpu import GPU_RESOURCE, GpuFacts
from pykaito.runtime.presets.inference_config import NO_CONFIG, InferenceConfig
from pykaito.runtime.presets.memory import KvDtype
from pykaito.runtime.presets.partition import part_of
from pykaito.runtime.presets.pod_template import (
    InvalidTemplateError,
    accelerators_of,
    check_template,
    template_doubts,
)
from pykaito.runtime.presets.runtimes import DEFAULT_RUNTIME, Runtime, runtime_of
from pykaito.runtime.presets.settings_text import InvalidConfigError
from pykaito.runtime.presets.sizing import (
    CONTEXT_FIELD,
    Demand,
    Size,
    TooLargeError,
    on_gpus,
)
from pykaito.runtime.presets.vllm_flags import vllm_flags
from pykaito.runtime.presets.vllm_options import check_options
from pykaito.runtime.presets.weights import (
    FromHub,
    FromImage,
    Weights,
    cache_claim_of,
    doubts_of_claims,
    weights_of,
)

Dtype = Literal["auto", "float16", "bfloat16"]

NodeFacts = GpuFacts | CpuFacts
"""What is known of each node, by what computes there."""


class PlanReason(StrEnum):
    """Why a spec cannot be served, as one word."""

    ANNOTATION_INVALID = "AnnotationInvalid"
    CONFIG_INVALID = "ConfigInvalid"
    CONFIG_KEY_MISSING = "ConfigKeyMissing"
    CONFIG_NOT_FOUND = "ConfigNotFound"
    HUB_UNREACHABLE = "HubUnreachable"
    INSTANCE_TYPE_UNKNOWN = "InstanceTypeUnknown"
    INSTANCE_TYPE_UNSUITABLE = "InstanceTypeUnsuitable"
    MODEL_ACCESS_SECRET_REQUIRED = "ModelAccessSecretRequired"  # noqa: S105 - a reason
    MODEL_CONFIG_INVALID = "ModelConfigInvalid"
    MODEL_CONFIG_MISSING = "ModelConfigMissing"
    MODEL_DOES_NOT_FIT = "ModelDoesNotFit"
    MODEL_GATED = "ModelGated"
    MODEL_LOOKUP_PENDING = "ModelLookupPending"
    NODE_OPTION_INVALID = "NodeOptionInvalid"
    PRESET_NOT_FOUND = "PresetNotFound"
    PRESET_PRIVATE = "PresetPrivate"
    REGISTRY_UNREACHABLE = "RegistryUnreachable"
    RUNTIME_NOT_SUPPORTED = "RuntimeNotSupported"
    SPEC_INVALID = "SpecInvalid"
    TEMPLATE_INVALID = "TemplateInvalid"
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
    #: What serves a preset on GPUs where the Workspace does not say.
    default_runtime: Runtime = DEFAULT_RUNTIME


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
    #: Tokens that the user asks for, cut to what fits; None for as many as fit.
    asked_context: int | None
    #: The name that clients send as ``model``.
    served_model_name: str
    #: Where its files come from.
    weights: Weights
    #: Secret whose key HF_TOKEN the hub asks for; empty where it does not.
    model_access_secret: str = ""
    #: Commit on the hub that is loaded; empty for the newest, or from elsewhere.
    revision: str = ""
    #: PersistentVolumeClaim that keeps what is downloaded and compiled; empty for none.
    cache_claim: str = ""

    @property
    def downloads(self) -> bool:
        """Whether it fetches the model from a hub."""
        return isinstance(self.weights, FromHub)


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
    #: What is in the memory of each GPU, or of the node; None for GPUs of which
    #: nothing is known, where the weights exceed it, and for a pod template.
    memory: MemoryBreakdown | None = None

    @property
    def gpus_per_node(self) -> int:
        """GPUs that a replica takes of its node."""
        return int(self.node_resources.get(GPU_RESOURCE, "0"))


def plan(
    workspace: Workspace,
    facts: NodeFacts | None = None,
    offers: Iterable[GpuFacts] = (),
    known: Known = NOTHING_KNOWN,
) -> Plan:
    """Return what serves the Workspace.

    Args:
        workspace: its spec and annotations.
        facts: what computes on each node it gets; None when nothing is known of
            them, which takes as many GPUs as the catalogue says.
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
    check_annotations(workspace)
    inference = workspace.inference or api.Inference()
    if inference.preset is None:
        return _plan_template(workspace, inference)
    return _plan_preset(workspace, inference, inference.preset, facts, offers, known)


def _plan_preset(
    workspace: Workspace,
    inference: api.Inference,
    spec: api.Preset,
    facts: NodeFacts | None,
    offers: Iterable[GpuFacts],
    known: Known,
) -> Plan:
    weights, cache_claim = select_volumes(workspace, spec)
    preset = resolve(spec, weights, known)
    options = spec.preset_options or api.PresetOptions()
    runtime = runtime_of(workspace, known.default_runtime)
    check_runtime(preset, runtime)
    check_access(preset, options, weights)
    check_config(preset, known.config, runtime)
    check_vendor(workspace, facts, runtime)
    demand = Demand(
        preset,
        runtime,
        adapters=len(inference.adapters),
        context=known.config.max_model_len,
        kv_dtype=kv_dtype(preset, known.config, runtime),
    )
    size = select_size(workspace, demand, facts, offers)
    secrets = [
        *options.image_pull_secrets,
        *(
            s
            for adapter in inference.adapters
            for s in adapter.source.image_pull_secrets
        ),
    ]
    return Plan(
        nodes=workspace.resource.count,
        node_resources=size.resources,
        server=ModelServer(
            preset=preset,
            runtime=runtime,
            dtype=select_dtype(workspace, preset, facts),
            context_length=size.context_length,
            asked_context=size.context_length if demand.context else None,
            served_model_name=served_name(spec),
            weights=weights,
            model_access_secret=options.model_access_secret or "",
            revision=preset.revision if isinstance(weights, FromHub) else "",
            cache_claim=cache_claim,
        ),
        image_pull_secrets=tuple(dict.fromkeys(secrets)),
        warnings=(
            *size.warnings,
            *doubts_of_preset(inference, known.config, preset, runtime),
            *doubts_of_claims(workspace),
            *doubts_of_any(workspace),
        ),
        memory=size.memory,
    )


def _plan_template(workspace: Workspace, inference: api.Inference) -> Plan:
    template = inference.template
    if template is None:
        raise PlanError(
            PlanReason.TEMPLATE_INVALID,
            "inference: found neither preset nor template; set one of them",
        )
    try:
        check_template(template)
    except InvalidTemplateError as error:
        raise PlanError(PlanReason.TEMPLATE_INVALID, str(error)) from None
    return Plan(
        nodes=workspace.resource.count,
        node_resources=accelerators_of(template),
        server=None,
        warnings=(
            *template_doubts(template),
            *doubts_of_template(workspace, inference),
            *doubts_of_any(workspace),
        ),
    )


def select_size(
    workspace: Workspace,
    demand: Demand,
    facts: NodeFacts | None,
    offers: Iterable[GpuFacts],
) -> Size:
    """Return what a replica takes of its node.

    Raises:
        PlanError: it does not fit.
    """
    unchecked = labels.BYPASS_RESOURCE_CHECKS in workspace.metadata.annotations
    try:
        if accelerator(workspace) == "cpu":
            cpu = facts if isinstance(facts, CpuFacts) else None
            return on_cpu(demand, cpu, unchecked=unchecked)
        gpu = facts if isinstance(facts, GpuFacts) else None
        part = part_of(workspace.resource.partition, gpu)
        return on_gpus(demand, part, offers=offers, unchecked=unchecked)
    except TooLargeError as error:
        raise PlanError(
            PlanReason.MODEL_DOES_NOT_FIT, f"{error.field}: {error}"
        ) from None


def select_dtype(
    workspace: Workspace, preset: Preset, facts: NodeFacts | None
) -> Dtype:
    """Return what the model computes in.

    CPUs compute in bfloat16, whatever the weights are stored in: float32 would
    take twice the memory, and reading the weights is what their time goes to;
    float16 has as many bits and fewer CPUs that compute in it.
    """
    if accelerator(workspace) == "cpu":
        return "bfloat16"
    if isinstance(facts, GpuFacts) and not facts.bfloat16:
        return "float16"
    return preset.dtype


def check_annotations(workspace: Workspace) -> None:
    """Check the annotations that choose among words.

    Raises:
        PlanError: one says what it cannot.
    """
    try:
        annotations.check_annotations(workspace)
    except annotations.UnknownValueError as error:
        raise PlanError(PlanReason.ANNOTATION_INVALID, str(error)) from None
    if accelerator(workspace) == "cpu" and workspace.resource.partition:
        field = annotations.field_of(labels.USE_ACCELERATOR)
        raise PlanError(
            PlanReason.ANNOTATION_INVALID,
            f"{field}: found 'cpu' beside resource.partition, which is a part of the "
            "GPUs; remove one of them",
        )


def select_volumes(workspace: Workspace, spec: api.Preset) -> tuple[Weights, str]:
    """Return where the weights come from, and the claim of the cache if there is one.

    Raises:
        PlanError: an annotation says what it cannot, or contradicts another.
    """
    try:
        return weights_of(workspace, spec), cache_claim_of(workspace)
    except annotations.UnknownValueError as error:
        raise PlanError(PlanReason.ANNOTATION_INVALID, str(error)) from None


def check_access(preset: Preset, options: api.PresetOptions, weights: Weights) -> None:
    """Check that the hub will hand the weights out.

    Raises:
        PlanError: it asks for a token, and none is named.
    """
    downloaded = isinstance(weights, FromHub)
    if preset.gated and downloaded and not options.model_access_secret:
        raise PlanError(
            PlanReason.MODEL_ACCESS_SECRET_REQUIRED,
            "inference.preset.presetOptions.modelAccessSecret: found none; the hub "
            f"gives {preset.name} to those who accepted its licence "
            f"({preset.licence}): name a Secret whose key HF_TOKEN holds a token of "
            "such an account, or in presetOptions.image an image with the weights, or "
            f"in the annotation {labels.WEIGHTS_CLAIM} a claim with them",
        )


def check_config(preset: Preset, config: InferenceConfig, runtime: Runtime) -> None:
    """Check that model and runtime can do what the config asks for.

    Raises:
        PlanError: the model was not made for so many tokens, or vLLM does not have
            an option.
    """
    if config.max_model_len and config.max_model_len > preset.context_length:
        raise PlanError(
            PlanReason.CONFIG_INVALID,
            f"{CONTEXT_FIELD}: found {config.max_model_len}; {preset.name} was made "
            f"for {preset.context_length} tokens, write at most as many",
        )
    if runtime != "vllm":
        return
    try:
        check_options(config.vllm)
    except InvalidConfigError as error:
        raise PlanError(
            PlanReason.CONFIG_INVALID, f"inference.config: {error}"
        ) from None


def kv_dtype(preset: Preset, config: InferenceConfig, runtime: Runtime) -> KvDtype:
    """Return how the cache is stored, which only vLLM lets one choose."""
    if runtime != "vllm":
        return "auto"
    made_for_fp8 = vllm_flags(preset).get("kv-cache-dtype") == "fp8"
    return "fp8" if made_for_fp8 else config.kv_dtype


def check_runtime(preset: Preset, runtime: Runtime) -> None:
    """Check that the runtime serves the model.

    Raises:
        PlanError: it does not.
    """
    if runtime == "transformers" and not preset.transformers:
        raise PlanError(
            PlanReason.RUNTIME_NOT_SUPPORTED,
            f"inference.preset.name: {preset.name} is not served by the runtime "
            f"'transformers'; set {annotations.field_of(labels.RUNTIME)} to 'vllm', "
            "which serves it on GPUs, or name another model",
        )


def check_vendor(
    workspace: Workspace, facts: NodeFacts | None, runtime: Runtime
) -> None:
    """Check that the runtime of this release computes on the nodes' GPUs.

    Raises:
        PlanError: it does not.
    """
    if not isinstance(facts, GpuFacts) or accelerator(workspace) == "cpu":
        return
    if facts.resource != GPU_RESOURCE:
        raise PlanError(
            PlanReason.RUNTIME_NOT_SUPPORTED,
            f"inference.preset.name: found {facts.count} {facts.resource} of "
            f"{facts.vendor} ({facts.name}), on which the runtime {runtime!r} of "
            "this release does not compute; name nodes with NVIDIA GPUs, serve a small "
            f"model by the annotation {labels.USE_ACCELERATOR}: cpu, or bring a pod "
            "that computes on them in inference.template",
        )


def resolve(spec: api.Preset, weights: Weights, known: Known) -> Preset:
    """Look the preset up and check that its weights can be had.

    Raises:
        PlanError: the name is unknown, or its weights are on no hub.
    """
    try:
        preset = known.preset or find_preset(spec.name)
    except UnknownPresetError as error:
        raise PlanError(
            PlanReason.PRESET_NOT_FOUND, f"inference.preset.name: {error}"
        ) from None
    private = spec.access_mode is api.AccessMode.PRIVATE
    from_image = isinstance(weights, FromImage)
    brought = private if from_image else not isinstance(weights, FromHub)
    if preset.private_only and not brought:
        raise PlanError(
            PlanReason.PRESET_PRIVATE,
            f"inference.preset.accessMode: the licence of {preset.name} "
            f"({preset.licence}) forbids hosting it for anyone; set accessMode to "
            "private and presetOptions.image to an image with its weights, or name in "
            f"the annotation {labels.WEIGHTS_CLAIM} a claim with them",
        )
    return preset
