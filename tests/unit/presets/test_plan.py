"""What a Workspace becomes, or why it cannot."""

import math
import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykaito.api.quantity import parse_quantity
from pykaito.api.v1beta1.resource import MigProfile
from pykaito.runtime.presets.catalogue import Preset, catalogue
from pykaito.runtime.presets.cpu import CpuFacts
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.inference_config import (
    InferenceConfig,
    parse_inference_config,
)
from pykaito.runtime.presets.plan import Known, NodeFacts, PlanError, PlanReason
from pykaito.runtime.presets.runtimes import RUNTIMES, Runtime
from pykaito.runtime.presets.weights import FromImage
from tests.unit.presets.workspaces import CPU, plan, refusal, workspace

GATED = {"presetOptions": {"modelAccessSecret": "hf"}}
SETTINGS = {"config": "settings"}
V100 = GpuFacts("V100", 2, 16160, bfloat16=False)


def test_a_preset_takes_as_many_gpus_as_its_weights_need() -> None:
    assert plan(workspace({"name": "falcon-40b"})).node_resources == {
        "nvidia.com/gpu": "2"
    }


def test_each_of_count_nodes_serves_a_replica() -> None:
    assert plan(workspace({"name": "falcon-7b"}, count=3)).nodes == 3


def test_a_private_preset_brings_its_image() -> None:
    preset = {
        "name": "llama-2-7b-chat",
        "accessMode": "private",
        "presetOptions": {"image": "r/llama:1", "imagePullSecrets": ["s"]},
    }
    planned = plan(workspace(preset))
    assert planned.server.weights == FromImage("r/llama:1")
    assert planned.image_pull_secrets == ("s",)


def test_an_unknown_preset_is_told_with_its_path_and_the_nearest_name() -> None:
    reason, message = refusal(workspace({"name": "phi-3.5-mini"}))
    assert reason is PlanReason.PRESET_NOT_FOUND
    assert message.startswith("inference.preset.name:")
    assert "phi-3.5-mini-instruct" in message


def test_a_model_under_a_private_licence_asks_for_an_image() -> None:
    reason, message = refusal(workspace({"name": "llama-2-7b"}))
    assert reason is PlanReason.PRESET_PRIVATE
    assert "presetOptions.image" in message


def test_tuning_is_told_to_be_unsupported() -> None:
    tuning = {
        "preset": {"name": "phi-3-mini-4k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "r/out:1", "imagePushSecret": "s"},
    }
    assert refusal(workspace({}, tuning=tuning))[0] is PlanReason.TUNING_NOT_SUPPORTED


def test_a_large_model_on_unknown_gpus_takes_what_it_needs_of_large_ones() -> None:
    assert (
        plan(workspace(GATED | {"name": "llama-3.3-70b-instruct"})).gpus_per_node == 2
    )


def test_a_model_is_served_under_the_name_that_it_was_asked_for_by() -> None:
    asked = workspace(GATED | {"name": "google/Gemma-3-4B-it"})
    assert plan(asked).server.served_model_name == "gemma-3-4b-it"


def test_gpus_without_bfloat16_get_float16() -> None:
    spec = workspace({"name": "falcon-7b"})
    assert plan(spec, V100).server.dtype == "float16"
    assert plan(spec, GpuFacts("A10", 1, 22731)).server.dtype == "bfloat16"


def test_a_model_that_transformers_does_not_serve_is_refused() -> None:
    reason, message = refusal(workspace({"name": "gemma-4-12b-it"}))
    assert reason is PlanReason.RUNTIME_NOT_SUPPORTED
    assert message.startswith("inference.preset.name: gemma-4-12b-it")


def test_a_model_that_barely_fits_is_planned_with_a_warning() -> None:
    tight = plan(workspace({"name": "falcon-7b"}), GpuFacts("small", 1, 14_000))
    assert tight.server.context_length == 128
    (warning,) = tight.warnings
    assert "falcon-7b barely fits" in warning


def test_a_plan_says_what_is_in_the_memory_of_each_gpu() -> None:
    found = plan(workspace({"name": "falcon-7b"}), V100).memory
    assert (found.of, found.shares, found.capacity) == ("GPU", 1, V100.memory)
    assert found.weights == pytest.approx(13.44 * GIB, abs=1)
    assert found.total == found.weights + found.cache + found.reserve
    assert found.percent == math.ceil(100 * found.total / V100.memory)
    assert plan(workspace({"name": "falcon-7b"})).memory is None


def test_adapters_take_room() -> None:
    adapters = [
        {"source": {"name": f"a{number}", "image": "r/a:1"}} for number in range(10)
    ]
    preset = {"name": "phi-3-mini-128k-instruct"}
    inference = {"adapters": adapters}
    without = plan(workspace(preset), V100).server.context_length
    assert (
        plan(workspace(preset, inference=inference), V100).server.context_length
        < without
    )


def test_a_user_who_knows_better_gets_all_gpus_of_the_node() -> None:
    bypass = {"kaito.sh/bypass-resource-checks": "true"}
    spec = workspace({"name": "falcon-40b"}, annotations=bypass)
    tried = plan(spec, V100)
    assert tried.gpus_per_node == 2
    assert "tried anyway" in tried.warnings[0]


def test_a_model_that_several_nodes_could_share_is_told_to_need_one_node() -> None:
    reason, message = refusal(workspace({"name": "falcon-40b"}, count=3), V100)
    assert reason is PlanReason.MODEL_DOES_NOT_FIT
    assert "77.9 GiB of GPU memory, 2 x 15.8 GiB (V100) has 31.6 GiB" in message
    assert "3 such nodes together would hold it, but" in message


def test_adapters_count_in_what_does_not_fit() -> None:
    adapters = [{"source": {"name": f"a{n}", "image": "r/a:1"}} for n in range(10)]
    spec = workspace({"name": "falcon-7b"}, inference={"adapters": adapters})
    small = GpuFacts("small", 1, 14_000)
    assert plan(workspace({"name": "falcon-7b"}), small)
    assert "the weights of falcon-7b with 10 adapters take" in refusal(spec, small)[1]


def configured(text: str) -> Known:
    return Known(config=parse_inference_config(text))


def test_a_config_sets_the_context() -> None:
    config = configured("vllm: {max-model-len: 4096}")
    spec = workspace({"name": "phi-3-mini-128k-instruct"})
    a100 = GpuFacts("A100", 8, 81920)
    for gpu in (None, a100):
        assert plan(spec, gpu, known=config).server.context_length == 4096
    assert plan(spec, a100, known=config).memory.cache == 4096 * 393216


def test_a_context_that_is_set_is_made_room_for() -> None:
    llama = workspace(GATED | {"name": "llama-3.3-70b-instruct"})
    a100 = GpuFacts("A100", 8, 81920)
    assert plan(llama, a100).gpus_per_node == 2
    set_to = configured("vllm: {max-model-len: 131072}")
    found = plan(llama, a100, known=set_to)
    assert (found.gpus_per_node, found.server.context_length) == (4, 131_072)


def test_a_context_that_cannot_fit_is_cut_with_a_warning() -> None:
    spec = workspace({"name": "phi-3-mini-128k-instruct"})
    found = plan(spec, V100, known=configured("vllm: {max-model-len: 131072}"))
    assert found.gpus_per_node == 2
    (warning,) = found.warnings
    assert warning.startswith(
        "inference.config: vllm.max-model-len: found 131072; "
        f"{found.server.context_length} tokens fit 2 x 15.8 GiB (V100)"
    )


def test_a_context_beyond_the_models_is_refused() -> None:
    config = configured("vllm: {max_model_len: 4097}")
    spec = workspace({"name": "phi-3-mini-4k-instruct"}, inference=SETTINGS)
    reason, message = refusal(spec, known=config)
    assert reason is PlanReason.CONFIG_INVALID
    assert message.startswith("inference.config: vllm.max-model-len: found 4097; ")
    assert "4096 tokens" in message


def test_options_of_another_runtime_are_told_to_do_nothing() -> None:
    options = ", ".join(f"o{n}: 1" for n in range(7))
    config = configured(f"vllm: {{max-model-len: 1024, {options}}}")
    spec = workspace({"name": "falcon-7b"}, inference=SETTINGS)
    (warning,) = plan(spec, known=config).warnings
    assert "vllm.o0, vllm.o1, vllm.o2, vllm.o3, vllm.o4 and 2 more" in warning


def test_settings_that_the_user_did_not_name_are_not_told_to_do_nothing() -> None:
    config = configured("vllm: {cpu-offload-gb: 0}\nother: 1")
    spec = workspace({"name": "falcon-7b"})
    assert plan(spec, known=config).warnings == ()
    spec = workspace({"name": "falcon-7b"}, inference=SETTINGS)
    assert len(plan(spec, known=config).warnings) == 2


def test_a_gated_model_asks_for_a_token_before_a_pod_fails() -> None:
    reason, message = refusal(workspace({"name": "llama-3.1-8b-instruct"}))
    assert reason is PlanReason.MODEL_ACCESS_SECRET_REQUIRED
    assert message.startswith("inference.preset.presetOptions.modelAccessSecret: ")
    assert "HF_TOKEN" in message
    named = {"name": "llama-3.1-8b-instruct"} | GATED
    assert plan(workspace(named)).server.model_access_secret == "hf"


def test_a_gated_model_in_an_image_of_the_users_needs_no_token() -> None:
    brought = {
        "name": "llama-3.1-8b-instruct",
        "accessMode": "private",
        "presetOptions": {"image": "r/llama:1"},
    }
    assert plan(workspace(brought)).server.weights == FromImage("r/llama:1")


def test_a_private_model_without_an_image_is_refused() -> None:
    preset = {"name": "llama-2-7b", "accessMode": "private"}
    reason, message = refusal(workspace(preset))
    assert reason is PlanReason.PRESET_PRIVATE
    assert "presetOptions.image" in message


def test_each_pull_secret_is_there_once_the_presets_first() -> None:
    options = {"image": "r/m:1", "imagePullSecrets": ["b", "a"]}
    adapters = [
        {"source": {"name": "x", "image": "r/x:1", "imagePullSecrets": ["c", "a"]}}
    ]
    preset = {"name": "phi-2", "accessMode": "private", "presetOptions": options}
    found = plan(workspace(preset, inference={"adapters": adapters}))
    assert found.image_pull_secrets == ("b", "a", "c")


@pytest.mark.parametrize(
    "image", ["<YOUR_IMAGE>", "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1"]
)
def test_a_placeholder_for_an_image_is_planned_with_a_warning(image: str) -> None:
    adapters = [
        {"source": {"name": "right", "image": "r/a:1"}},
        {"source": {"name": "wrong", "image": image}},
    ]
    spec = workspace({"name": "falcon-7b"}, inference={"adapters": adapters})
    (warning,) = plan(spec).warnings
    assert warning.startswith(f"inference.adapters[1].source.image: found {image!r}")
    assert "registry.example.com/path/name:tag" in warning


def test_a_placeholder_for_the_models_image_is_planned_with_a_warning() -> None:
    options = {"image": "<MODEL>"}
    preset = {"name": "phi-2", "accessMode": "private", "presetOptions": options}
    (warning,) = plan(workspace(preset)).warnings
    assert warning.startswith("inference.preset.presetOptions.image: found '<MODEL>'")


def test_too_few_named_nodes_are_told() -> None:
    resource = {"preferredNodes": ["a"]}
    spec = workspace({"name": "phi-2"}, count=2, resource=resource)
    (warning,) = plan(spec).warnings
    assert warning.startswith("resource.preferredNodes: 1 of 2 nodes are named")
    resource["instanceType"] = "Standard_NC6s_v3"
    spec = workspace({"name": "phi-2"}, count=2, resource=resource)
    assert plan(spec).warnings == ()


@pytest.mark.parametrize(
    ("annotation", "right"),
    [
        ("kaito.sh/accelerator", "gpu or cpu"),
        ("kaito.sh/runtime", "vllm or transformers"),
        ("kaito.sh/performance-mode", "balanced, interactivity or throughput"),
        ("kaito.sh/use-local-weights", "true or false"),
        ("kaito.sh/node-image-family", "ubuntu or azurelinux"),
    ],
)
@pytest.mark.parametrize("value", ["", "GPU", "nonsense"])
def test_an_annotation_with_a_word_that_means_nothing_is_refused(
    annotation: str, right: str, value: str
) -> None:
    spec = workspace({"name": "phi-2"}, annotations={annotation: value})
    reason, message = refusal(spec)
    assert reason is PlanReason.ANNOTATION_INVALID
    assert message == (
        f"metadata.annotations[{annotation}]: found {value!r}; set it to {right}"
    )


def test_a_load_balancer_that_is_asked_for_in_other_words_is_told() -> None:
    for value, warnings in (("True", 0), ("False", 0), ("true", 1), ("yes", 1)):
        spec = workspace({"name": "phi-2"}, annotations={"kaito.sh/enablelb": value})
        assert len(plan(spec).warnings) == warnings


FACTS = (
    st.none()
    | st.builds(GpuFacts, st.just("G"), st.integers(1, 16), st.integers(1, 200_000))
    | st.builds(
        CpuFacts,
        st.just("node a"),
        st.integers(2, 256_000),
        st.integers(256, 2_000_000),
    )
)
PARTITIONS = (
    st.none()
    | st.builds(
        lambda n: {"mode": "accelerator", "count": n}, st.integers(1, 2**31 - 1)
    )
    | st.builds(
        lambda p: {"mode": "mig", "profile": p}, st.sampled_from(get_args(MigProfile))
    )
)


@settings(deadline=None)
@given(
    preset=st.sampled_from(list(catalogue().values())),
    facts=FACTS,
    partition=PARTITIONS,
    annotations=st.dictionaries(
        st.sampled_from(["kaito.sh/accelerator", "kaito.sh/bypass-resource-checks"]),
        st.sampled_from(["cpu", "gpu", "true"]),
    ),
    adapters=st.integers(0, 10),
    context=st.none() | st.integers(1, 10_000_000),
    runtime=st.sampled_from(RUNTIMES),
)
def test_whatever_is_asked_for_is_planned_or_refused_with_a_path(
    preset: Preset,
    facts: NodeFacts | None,
    partition: dict[str, Any] | None,
    annotations: dict[str, str],
    adapters: int,
    context: int | None,
    runtime: Runtime,
) -> None:
    spec = workspace(
        {
            "name": preset.name,
            "accessMode": "private",
            "presetOptions": {"image": "r/m:1"},
        },
        annotations=annotations,
        resource={"partition": partition} if partition else None,
        inference={
            "adapters": [
                {"source": {"name": f"a{n}", "image": "r/a:1"}} for n in range(adapters)
            ]
        },
    )
    known, refused = Known(config=InferenceConfig(context)), ""
    try:
        found = plan(spec, facts, known=known, default_runtime=runtime)
    except PlanError as error:
        refused = str(error)
    if refused:
        assert re.match(r"(inference|resource|metadata)[.][^ ]+: ", refused)
        return
    assert all(parse_quantity(q) > 0 for q in found.node_resources.values())
    assert 1 <= found.server.context_length <= preset.context_length
    if context:
        assert found.server.context_length <= context
    if found.memory and found.memory.capacity:
        assert found.memory.total <= found.memory.capacity


class_of_facts = st.none() | st.builds(
    GpuFacts,
    st.just("x"),
    st.integers(1, 16) | st.just(10**60),
    st.integers(1, 200_000) | st.just(10**60),
)


@given(
    st.floats(0.01, 2.0**24),
    st.integers(1, 2**40),
    st.integers(1, 2**60),
    class_of_facts,
    st.sampled_from([{}, CPU]),
    st.booleans(),
)
def test_any_model_of_a_hub_on_any_node_is_planned_or_refused(
    weights_gib: float,
    context: int,
    per_token: int,
    facts: NodeFacts | None,
    annotations: dict[str, str],
    unchecked: bool,
) -> None:
    preset = catalogue()["falcon-7b"]
    attention = preset.attention.model_copy(update={"bytes_per_token": per_token})
    told = {"weights_gib": weights_gib, "context_length": context, "gpus": None}
    known = Known(preset.model_copy(update={**told, "attention": attention}))
    if unchecked:
        annotations = annotations | {"kaito.sh/bypass-resource-checks": "true"}
    spec = workspace({"name": "o/n"}, annotations=annotations)
    try:
        assert plan(spec, facts, known=known).node_resources
    except PlanError as error:
        assert error.reason is PlanReason.MODEL_DOES_NOT_FIT  # noqa: PT017 - either is right
