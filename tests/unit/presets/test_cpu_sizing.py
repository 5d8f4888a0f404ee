"""A model on CPUs: what it takes of a node's memory."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pykaito.api.quantity import parse_quantity
from pykaito.runtime.hf.cache_memory import cache_slots
from pykaito.runtime.hf.kv_cache import UNIT, LayerShape
from pykaito.runtime.presets.catalogue import Preset, catalogue, find_preset
from pykaito.runtime.presets.cpu import CpuFacts, weakest
from pykaito.runtime.presets.cpu_sizing import on_cpu
from pykaito.runtime.presets.gpu import GIB, GpuFacts
from pykaito.runtime.presets.inference_config import parse_inference_config
from pykaito.runtime.presets.memory import model_of, reserve_in_ram
from pykaito.runtime.presets.plan import Known, PlanReason
from pykaito.runtime.presets.sizing import Demand, Size, TooLargeError
from tests.unit.presets.workspaces import CPU, plan, refusal, workspace

LAPTOP = CpuFacts("node a", millicores=7910, memory_mib=15 * 1024)
PHI_2 = workspace({"name": "phi-2"}, annotations=CPU)
LONG = workspace({"name": "phi-3-mini-128k-instruct"}, annotations=CPU)

PRESETS = st.sampled_from(list(catalogue().values()))
CPUS = st.builds(
    CpuFacts,
    name=st.just("node a"),
    millicores=st.integers(1, 256_000),
    memory_mib=st.integers(256, 2_000_000),
)
CONTEXTS = st.none() | st.integers(1, 200_000)


def demand(preset: Preset, context: int | None, adapters: int = 0) -> Demand:
    return Demand(
        preset,
        "transformers",
        adapters,
        context and min(context, preset.context_length),
    )


def fit(wanted: Demand, cpu: CpuFacts) -> Size | None:
    try:
        return on_cpu(wanted, cpu, unchecked=False)
    except TooLargeError:
        return None


def test_a_small_model_takes_cpu_and_memory_and_no_gpu() -> None:
    found = plan(PHI_2, LAPTOP)
    assert found.node_resources == {"cpu": "3955m", "memory": "8129Mi"}
    assert found.gpus_per_node == 0
    assert (found.server.context_length, found.server.dtype) == (2048, "bfloat16")
    assert found.warnings == ()


def test_the_memory_is_weights_and_cache_and_server() -> None:
    found = plan(PHI_2, LAPTOP).memory
    assert (found.of, found.shares, found.capacity) == ("RAM", 1, LAPTOP.memory)
    assert found.weights == pytest.approx(5.18 * GIB, abs=1)
    # The runtime gives out slots by 4096.
    assert found.cache == 4096 * 327680
    assert GIB < found.reserve < 2 * GIB


def test_a_server_that_was_measured_fits_what_is_reserved_for_it() -> None:
    """660 M parameters after a prompt of 3900 tokens: 1298 MiB beside weights."""
    llama = find_preset("llama-3.1-8b-instruct")
    measured = llama.model_copy(update={"weights_gib": 1261 / 1024})
    reserved = reserve_in_ram(model_of(measured), 3900) / 2**20
    assert 1298 - 152 < reserved < 1.5 * 1298


def test_where_nothing_is_known_a_default_context_is_made_room_for() -> None:
    found = plan(LONG)
    assert found.node_resources["cpu"] == "1"
    assert found.server.context_length == 2048
    assert (found.memory.capacity, found.memory.percent) == (None, None)


def test_facts_of_gpus_mean_nothing_to_a_cpu() -> None:
    assert plan(PHI_2, GpuFacts("A100", 8, 81920)) == plan(PHI_2)
    amd = GpuFacts("MI210", 8, 65536, resource="amd.com/gpu")
    assert plan(PHI_2, amd) == plan(PHI_2)


def test_a_long_context_is_not_taken_of_a_shared_node_unless_asked_for() -> None:
    large = CpuFacts("node a", 32_000, 256 * 1024)
    found = plan(LONG, large)
    assert found.server.context_length == 8192
    assert "8192 of the 131072 tokens" in found.warnings[0]
    assert "set vllm.max-model-len in inference.config" in found.warnings[0]
    config = Known(config=parse_inference_config("vllm: {max-model-len: 32768}"))
    found = plan(LONG, large, known=config)
    assert (found.server.context_length, found.warnings) == (32768, ())


def test_the_context_is_fitted_to_the_memory() -> None:
    found = plan(LONG, CpuFacts("node a", 4000, 12 * 1024))
    assert 2048 < found.server.context_length < 8192
    assert "a node with 12.0 GiB for pods (node a) holds no more" in found.warnings[0]


def test_a_context_that_a_config_asks_for_and_does_not_fit_is_told() -> None:
    config = Known(config=parse_inference_config("vllm: {max-model-len: 100000}"))
    found = plan(LONG, LAPTOP, known=config)
    assert (
        f"found 100000; {found.server.context_length} tokens fit" in found.warnings[0]
    )


def test_what_leaves_no_room_for_the_smallest_cache_is_refused() -> None:
    """Weights and server alone would fit, and the server be killed for its cache."""
    usual = plan(PHI_2, LAPTOP).memory
    # Of a node, 90 % may be used.
    least = math.ceil((usual.weights + usual.cache + GIB) / 0.9 / 2**20)
    assert plan(PHI_2, CpuFacts("node a", 4000, least + 64)).server.context_length
    reason, message = refusal(PHI_2, CpuFacts("node a", 4000, least - 1))
    assert reason is PlanReason.MODEL_DOES_NOT_FIT
    assert "its server 1.0 GiB and the smallest cache 1.2 GiB" in message


@settings(deadline=None)
@given(PRESETS, CPUS, CONTEXTS)
def test_the_cache_that_is_planned_holds_the_context_in_the_runtime(
    preset: Preset, cpu: CpuFacts, context: int | None
) -> None:
    found = fit(demand(preset, context), cpu)
    if found is None or preset.attention.full_layers:
        # Of layers that keep nothing of tokens, a runner of batches has none.
        return
    assert found.memory
    layer = LayerShape(
        heads=1,
        key_width=preset.attention.bytes_per_token // 2,
        value_width=0,
        dtype=torch.bfloat16,
        device=torch.device("cpu"),
    )
    slots = cache_slots(
        [layer],
        sequences=64,
        context_length=found.context_length,
        limit=found.memory.cache,
    )
    assert slots // UNIT * UNIT >= found.context_length


def test_what_exceeds_the_memory_is_refused_with_need_and_found() -> None:
    spec = workspace({"name": "falcon-7b"}, annotations=CPU)
    reason, message = refusal(spec, LAPTOP)
    assert reason is PlanReason.MODEL_DOES_NOT_FIT
    assert message.startswith("inference.preset.name: the weights of falcon-7b take ")
    assert "13.4 GiB" in message
    assert "15.0 GiB for pods (node a)" in message


def test_a_user_who_knows_better_gets_all_that_may_be_used() -> None:
    bypass = CPU | {"kaito.sh/bypass-resource-checks": "true"}
    found = plan(workspace({"name": "falcon-7b"}, annotations=bypass), LAPTOP)
    assert parse_quantity(found.node_resources["memory"]) == LAPTOP.usable
    assert "tried anyway" in found.warnings[0]


def test_quantised_weights_are_unpacked() -> None:
    packed = find_preset("gpt-oss-20b")
    size = on_cpu(Demand(packed, "transformers"), None, unchecked=False)
    assert size.memory
    assert size.memory.weights == pytest.approx(4 * 12.81 * GIB, abs=4)


def test_a_part_of_the_gpus_is_refused_beside_cpus() -> None:
    partition = {"partition": {"mode": "accelerator", "count": 1}}
    spec = workspace({"name": "phi-2"}, annotations=CPU, resource=partition)
    reason, message = refusal(spec)
    assert reason is PlanReason.ANNOTATION_INVALID
    assert "resource.partition" in message


def test_several_nodes_count_as_their_weakest() -> None:
    found = weakest([CpuFacts("a", 2000, 9000), CpuFacts("b", 8000, 4000)])
    assert found == CpuFacts("b", 2000, 4000)
    assert weakest([]) is None


@settings(deadline=None)
@given(PRESETS, CPUS, CONTEXTS, st.integers(0, 10))
def test_a_plan_for_cpus_fits_by_its_own_arithmetic(
    preset: Preset, cpu: CpuFacts, context: int | None, adapters: int
) -> None:
    found = fit(demand(preset, context, adapters), cpu)
    if found is None:
        return
    assert found.memory
    asked = parse_quantity(found.resources["memory"])
    assert found.memory.total <= asked <= cpu.usable <= cpu.memory
    assert parse_quantity(found.resources["cpu"]) * 1000 <= cpu.millicores
    assert 1 <= found.context_length <= preset.context_length


@settings(deadline=None)
@given(PRESETS, CPUS, CONTEXTS, st.integers(0, 10), st.integers(0, 100_000))
def test_a_node_with_more_memory_never_holds_less(
    preset: Preset, cpu: CpuFacts, context: int | None, adapters: int, more: int
) -> None:
    larger = dataclasses.replace(cpu, memory_mib=cpu.memory_mib + more)
    wanted = demand(preset, context, adapters)
    before, after = fit(wanted, cpu), fit(wanted, larger)
    if before is not None:
        assert after is not None
        assert after.context_length >= before.context_length


@settings(deadline=None)
@given(PRESETS, st.integers(1, 50_000), st.integers(0, 50_000), st.integers(0, 9))
def test_more_tokens_or_adapters_never_take_less_memory(
    preset: Preset, context: int, more: int, adapters: int
) -> None:
    def taken(context: int, adapters: int) -> int:
        size = on_cpu(demand(preset, context, adapters), None, unchecked=False)
        assert size.memory
        return size.memory.total

    assert taken(context, adapters) <= taken(context + more, adapters)
    assert taken(context, adapters) <= taken(context, adapters + 1)
