"""What is legal in a Workspace and likely not meant, as sentences for people."""

from collections.abc import Iterator, Sequence

from pykaito.api import labels
from pykaito.api.v1beta1.inference import Inference
from pykaito.api.v1beta1.inference import Preset as PresetSpec
from pykaito.api.v1beta1.resource import Resource
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.annotations import field_of
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.image_reference import image_doubt
from pykaito.runtime.presets.inference_config import InferenceConfig
from pykaito.runtime.presets.runtimes import Runtime
from pykaito.runtime.presets.vllm_flags import needs_cuda_toolkit
from pykaito.runtime.presets.vllm_options import RETIRED

#: Annotations that name volumes of a preset's pod.
_OF_VOLUMES = (
    labels.USE_LOCAL_WEIGHTS,
    labels.MOUNT_WEIGHTS_IMAGE,
    labels.WEIGHTS_CLAIM,
    labels.CACHE_CLAIM,
)
#: Options named in a sentence; more are counted.
_NAMED = 5


def served_name(spec: PresetSpec) -> str:
    """Return the name by which requests ask for a preset's model."""
    return spec.name.rpartition("/")[2].lower()


def doubts_of_any(workspace: Workspace) -> Iterator[str]:
    """Yield doubts about a Workspace, whatever it serves."""
    yield from _of_nodes(workspace.resource)
    found = workspace.metadata.annotations.get(labels.ENABLE_LOAD_BALANCER)
    if found not in {None, "True", "False"}:
        yield (
            f"{field_of(labels.ENABLE_LOAD_BALANCER)}: found {found!r}, which exposes "
            "nothing; only 'True' makes the Service a load balancer"
        )


def doubts_of_preset(
    inference: Inference, config: InferenceConfig, preset: Preset, runtime: Runtime
) -> Iterator[str]:
    """Yield doubts about a preset and what goes with it."""
    if runtime == "vllm" and needs_cuda_toolkit(preset):
        yield (
            f"inference.preset.name: kernels of {preset.name} are compiled when its "
            "server starts, for which the image of the runtime 'vllm' needs a CUDA "
            "toolkit; the one that is published has none"
        )
    options = inference.preset.preset_options if inference.preset else None
    if options and options.image:
        field = "inference.preset.presetOptions.image"
        yield from filter(None, [image_doubt(field, options.image)])
    for number, adapter in enumerate(inference.adapters):
        field = f"inference.adapters[{number}].source.image"
        if adapter.source.image:
            yield from filter(None, [image_doubt(field, adapter.source.image)])
        if inference.preset and adapter.source.name == served_name(inference.preset):
            yield (
                f"inference.adapters[{number}].source.name: found "
                f"{adapter.source.name!r}, by which requests name the model; give the "
                "adapter another name to ask for it alone"
            )
    if inference.config is None:
        # The settings are the operator's own, for all who name none.
        return
    yield from config.warnings
    if runtime == "transformers":
        yield from _of_other_runtime(config.vllm_only)
    else:
        for option in config.vllm:
            if option.replace("_", "-") in RETIRED:
                yield (
                    f"inference.config: vllm.{option}: vLLM no longer has this option; "
                    "it is left out"
                )


def _of_other_runtime(ignored: Sequence[str]) -> Iterator[str]:
    if ignored:
        more = f" and {len(ignored) - _NAMED} more" if len(ignored) > _NAMED else ""
        yield (
            f"inference.config: vllm.{', vllm.'.join(ignored[:_NAMED])}{more}: options "
            "of vLLM, which the runtime 'transformers' does without; of these it "
            "reads max-model-len alone"
        )


def doubts_of_template(workspace: Workspace, inference: Inference) -> Iterator[str]:
    """Yield what has no effect beside a pod template, which is run as it is."""
    for field, found, instead in (
        ("inference.adapters", inference.adapters, "load them in the template"),
        ("inference.config", inference.config, "mount the ConfigMap in the template"),
        (
            "resource.partition",
            workspace.resource.partition,
            "request the GPUs in the template's containers",
        ),
    ):
        if found:
            yield f"{field}: has no effect with inference.template; {instead}"
    for annotation in _OF_VOLUMES:
        if annotation in workspace.metadata.annotations:
            yield (
                f"{field_of(annotation)}: has no effect with inference.template; mount "
                "the volume in the template"
            )


def _of_nodes(resource: Resource) -> Iterator[str]:
    named = len(resource.preferred_nodes)
    if named and named < resource.count and not resource.instance_type:
        yield (
            f"resource.preferredNodes: {named} of {resource.count} nodes are named, "
            "and without resource.instanceType no others are taken; name as many as "
            "resource.count says"
        )
