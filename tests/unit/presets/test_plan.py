"""What a Workspace becomes, or why it cannot."""

import math
from typing import Any

import pytest

from pykaito.api.parse import parse
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.plan import PlanError, PlanReason, plan

GATED = {"presetOptions": {"modelAccessSecret": "hf"}}
V100 = GpuFacts("V100", 2, 16160, bfloat16=False)


def workspace(
    preset: dict[str, Any],
    *,
    count: int = 1,
    runtime: str | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Workspace:
    annotations = annotations or {}
    annotations |= {"kaito.sh/runtime": runtime} if runtime else {}
    inference = {"preset": preset} if preset else None
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
            },
            **({"inference": inference} if inference else {}),
            **spec,
        },
    )


def reason_of(spec: Workspace) -> tuple[PlanReason, str]:
    with pytest.raises(PlanError) as caught:
        plan(spec)
    return caught.value.reason, str(caught.value)


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
    assert planned.server.weights_image == "r/llama:1"
    assert planned.image_pull_secrets == ("s",)


def test_an_unknown_preset_is_told_with_its_path_and_the_nearest_name() -> None:
    reason, message = reason_of(workspace({"name": "phi-3.5-mini"}))
    assert reason is PlanReason.PRESET_NOT_FOUND
    assert message.startswith("inference.preset.name:")
    assert "phi-3.5-mini-instruct" in message


def test_a_model_under_a_private_licence_asks_for_an_image() -> None:
    reason, message = reason_of(workspace({"name": "llama-2-7b"}))
    assert reason is PlanReason.PRESET_PRIVATE
    assert "presetOptions.image" in message


def test_a_runtime_that_is_not_there_is_told_with_what_is() -> None:
    reason, message = reason_of(workspace({"name": "falcon-7b"}, runtime="vllm"))
    assert reason is PlanReason.RUNTIME_NOT_SUPPORTED
    assert "transformers" in message


def test_tuning_is_told_to_be_unsupported() -> None:
    tuning = {
        "preset": {"name": "phi-3-mini-4k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "r/out:1", "imagePushSecret": "s"},
    }
    assert reason_of(workspace({}, tuning=tuning))[0] is PlanReason.TUNING_NOT_SUPPORTED


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
    reason, message = reason_of(workspace({"name": "gemma-4-12b-it"}))
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
    inference = {"preset": preset, "adapters": adapters}
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
