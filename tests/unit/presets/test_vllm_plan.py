"""What a Workspace becomes where vLLM serves it."""

from typing import Any

import pytest

from pykaito.runtime.presets.catalogue import catalogue, find_preset
from pykaito.runtime.presets.cpu import CpuFacts
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.inference_config import parse_inference_config
from pykaito.runtime.presets.plan import Known, PlanReason
from pykaito.runtime.presets.runtimes import DEFAULT_RUNTIME, runtime_of
from tests.unit.presets import workspaces
from tests.unit.presets.workspaces import CPU, refusal, workspace

A100 = GpuFacts("A100", 8, 81920)
SECRET = {"presetOptions": {"modelAccessSecret": "hf"}}
SETTINGS = {"config": "settings"}


def plan(*args: Any, **options: Any) -> Any:
    return workspaces.plan(*args, default_runtime="vllm", **options)


def configured(text: str) -> Known:
    return Known(config=parse_inference_config(text))


@pytest.mark.parametrize("default", ["vllm", "transformers"])
def test_the_annotation_counts_before_the_default(default: Any) -> None:
    for named in ("vllm", "transformers"):
        spec = workspace({"name": "phi-2"}, runtime=named)
        assert runtime_of(spec, default) == named
    assert runtime_of(workspace({"name": "phi-2"}), default) == default


def test_vllm_is_the_default_on_gpus_and_transformers_on_cpus() -> None:
    assert DEFAULT_RUNTIME == "vllm"
    assert Known().default_runtime == "vllm"
    on_cpu = workspace({"name": "phi-2"}, annotations=CPU)
    assert runtime_of(on_cpu, "vllm") == "transformers"
    asked = workspace({"name": "phi-2"}, annotations=CPU, runtime="vllm")
    assert runtime_of(asked, "transformers") == "vllm"


def test_every_model_of_the_catalogue_is_served() -> None:
    image = {"accessMode": "private", "presetOptions": {"image": "r/m:1"}}
    for name in catalogue():
        assert plan(workspace({"name": name} | image)).server.runtime == "vllm"


def test_a_model_that_transformers_does_not_serve_is_sent_to_vllm() -> None:
    spec = workspace({"name": "gemma-4-12b-it"}, runtime="transformers")
    reason, message = refusal(spec)
    assert reason is PlanReason.RUNTIME_NOT_SUPPORTED
    assert "metadata.annotations[kaito.sh/runtime] to 'vllm'" in message


def test_a_model_is_dealt_to_gpus_by_its_heads() -> None:
    spec = workspace({"name": "phi-4"})
    small = GpuFacts("small", 4, 12288)
    found = plan(spec, GpuFacts("A10", 4, 23028))
    assert found.gpus_per_node == 2
    # 10 heads can be dealt to 2 GPUs and not to 4; layers to any number.
    assert refusal(spec, small, default_runtime="vllm")[0] is (
        PlanReason.MODEL_DOES_NOT_FIT
    )
    assert workspaces.plan(spec, small).gpus_per_node == 4


@pytest.mark.parametrize(("asked", "taken"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 8)])
def test_of_gpus_that_a_model_cannot_be_dealt_to_fewer_are_taken(
    asked: int, taken: int
) -> None:
    resource = {"partition": {"mode": "accelerator", "count": asked}}
    spec = workspace({"name": "phi-2"}, resource=resource)
    for facts in (A100, None):
        assert plan(spec, facts).gpus_per_node == taken
    told = [w for w in plan(spec, A100).warnings if "resource.partition.count" in w]
    assert len(told) == (asked != taken)


def test_other_runtimes_take_all_gpus_that_are_asked_for() -> None:
    resource = {"partition": {"mode": "accelerator", "count": 3}}
    spec = workspace({"name": "phi-2"}, resource=resource)
    assert workspaces.plan(spec, A100).gpus_per_node == 3


def test_a_cache_of_fp8_holds_twice_as_many_tokens() -> None:
    spec = workspace({"name": "phi-3-mini-128k-instruct"}, inference=SETTINGS)
    v100 = GpuFacts("V100", 1, 16160, bfloat16=False)
    plain = plan(spec, v100).server.context_length
    known = configured("vllm: {kv-cache-dtype: fp8_e5m2}")
    assert plan(spec, v100, known=known).server.context_length == pytest.approx(
        2 * plain, abs=32
    )
    other = workspaces.plan(spec, v100, known=known)
    assert other.server.context_length == pytest.approx(plain, abs=32)


def test_a_context_is_asked_of_vllm_only_where_the_user_asks_for_one() -> None:
    spec = workspace({"name": "phi-3-mini-128k-instruct"}, inference=SETTINGS)
    assert plan(spec, A100).server.asked_context is None
    known = configured("vllm: {max-model-len: 4096}")
    assert plan(spec, A100, known=known).server.asked_context == 4096
    cut = plan(spec, GpuFacts("V100", 1, 16160), known=configured(
        "vllm: {max-model-len: 131072}"
    ))  # fmt: skip
    assert cut.server.asked_context == cut.server.context_length < 131072


def test_on_a_cpu_the_server_takes_more_memory_than_transformers() -> None:
    node = CpuFacts("node a", 4000, 32 * 1024)
    memory = {
        runtime: workspaces.plan(
            workspace({"name": "phi-2"}, annotations=CPU, runtime=runtime), node
        ).memory
        for runtime in ("vllm", "transformers")
    }
    # The one gives out its cache in blocks, the other in units.
    assert memory["vllm"].cache == 2048 * 327680
    assert memory["transformers"].cache == 4096 * 327680
    more = memory["vllm"].reserve - memory["transformers"].reserve
    assert more == 2 * GIB


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("max-modell-len: 1", "does not have it; did you mean max-model-len"),
        ("compilation-confg.level: 3", "did you mean compilation-config"),
        ("tp: 2", "vllm.tp: found an option; vLLM"),
        ("port: 8000", "the Service and the probes depend on it"),
        ("ssl-certfile: /x", "the Service and the probes depend on it"),
        ("lora_modules: a=b", "list adapters in inference.adapters"),
        ("served-model-name: x", "it follows from inference.preset.name"),
        ("enable-prefix-caching: maybe", "found 'maybe'; write true or false"),
        ("enforce_eager: 1", "found 1; write true or false"),
        ("disable-log-stats: true", "found True; leave it out; the probes depend on"),
    ],
)
def test_an_option_that_would_end_the_server_is_refused(
    options: str, said: str
) -> None:
    spec = workspace({"name": "phi-2"}, inference=SETTINGS)
    known = configured(f"vllm: {{{options}}}")
    reason, message = refusal(spec, known=known, default_runtime="vllm")
    assert reason is PlanReason.CONFIG_INVALID
    assert message.startswith("inference.config: vllm.")
    assert said in message
    assert workspaces.plan(spec, known=known).warnings


@pytest.mark.parametrize(
    "options",
    [
        "max_model_len: 1024",
        "enable-prefix-caching: true",
        "no-enable-prefix-caching: 'True'",
        "gpu-memory-utilization: 0.5",
        "compilation-config: {level: 3}",
        "compilation-config.pass_config.fuse_allreduce_rms: false",
        "cpu-offload-gb: 0",
    ],
)
def test_an_option_that_vllm_has_is_taken(options: str) -> None:
    spec = workspace({"name": "phi-2"}, inference=SETTINGS)
    assert plan(spec, known=configured(f"vllm: {{{options}}}")).warnings == ()


def test_an_option_that_vllm_had_once_is_left_out_with_a_warning() -> None:
    spec = workspace({"name": "phi-2"}, inference=SETTINGS)
    (warning,) = plan(spec, known=configured("vllm: {swap_space: 4}")).warnings
    assert warning.startswith("inference.config: vllm.swap_space: ")


def test_a_model_whose_kernels_are_compiled_is_planned_with_a_warning() -> None:
    (warning,) = plan(workspace({"name": "deepseek-v3.2"})).warnings
    assert "CUDA toolkit" in warning


@pytest.mark.parametrize("model", ["phi-2", "microsoft/Phi-2"])
@pytest.mark.parametrize(("name", "warned"), [("phi-2", True), ("phi-2-legal", False)])
def test_an_adapter_that_is_named_as_its_model_is_planned_with_a_warning(
    model: str, name: str, warned: bool
) -> None:
    source = {"name": name, "image": "registry.example.com/legal:1"}
    adapters = {"adapters": [{"source": source}]}
    found = plan(workspace({"name": model}, inference=adapters)).warnings
    assert [w.partition(": ")[0] for w in found] == (
        ["inference.adapters[0].source.name"] if warned else []
    )


def test_other_vendors_gpus_are_refused_by_the_runtimes_name() -> None:
    amd = GpuFacts("MI300X", 8, 196608, resource="amd.com/gpu")
    spec = workspace({"name": "phi-2"})
    reason, message = refusal(spec, amd, default_runtime="vllm")
    assert reason is PlanReason.RUNTIME_NOT_SUPPORTED
    assert "the runtime 'vllm' of this release does not compute" in message


def test_a_gated_model_is_planned_as_for_any_runtime() -> None:
    spec = workspace(SECRET | {"name": "llama-3.1-8b-instruct"})
    assert (
        plan(spec, A100).server.revision
        == find_preset("llama-3.1-8b-instruct").revision
    )
