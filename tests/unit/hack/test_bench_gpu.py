"""The benchmark of GPUs, on a CPU: all of it but the device."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from hack.bench import gpu_throughput, in_process
from hack.bench.gpu_report import Measured, Report, markdown
from hack.bench.gpu_throughput import Plan, Subjects, benchmark
from hack.bench.model_folder import StepBytes, make_model, parameters, step_bytes
from hack.bench.roofline import copy_bandwidth, least_seconds
from hack.bench.traffic import (
    TRIES,
    Answer,
    Clock,
    Load,
    SilentAnswerError,
    load,
)

OURS, OTHER, ALONE = "ours", "another that batches", "one at a time"
STEP = StepBytes(weights=1000, per_token=1)


def answer(step: float = 0.5, late_step: float = 0.25) -> Answer:
    return Answer(
        prompt_tokens=60, tokens=80, first_token=1.0, step=step, late_step=late_step
    )


def measured(name: str, at_once: int, seconds: Sequence[float]) -> Measured:
    rounds = [Load([answer()] * at_once, one) for one in seconds]
    return Measured(name, at_once, name == ALONE, rounds)


def report(*some: Measured) -> Report:
    return Report(
        mode="Somehow",
        ours=OURS,
        versions={"torch": "2.0"},
        parameters=10**9,
        step=STEP,
        bandwidth=8000.0,
        measured=some,
        left_out={"vLLM": "it is not there"},
    )


def row(table: str, engine: str) -> list[str]:
    (line,) = (one for one in table.splitlines() if one.startswith(f"| {engine} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_median_round_counts() -> None:
    assert measured(OURS, 2, [1.0, 100.0, 2.0]).rate == 2 * 80 / 2.0


def test_a_step_takes_as_long_as_weights_and_keys_and_values_need() -> None:
    least = least_seconds(STEP, sequences=10, context=100, bandwidth=4000)
    assert least == (1000 + 10 * 100 * 1) / 4000


def test_the_share_of_the_roofline_is_of_all_that_run_at_once() -> None:
    # 60 tokens and half or three quarters of 80, in 8000 bytes a second.
    batched = (1000 + 10 * (60 + 60)) / 8000 / 0.25
    alone = (1000 + 1 * (60 + 40)) / 8000 / 0.5
    assert measured(OURS, 10, [1.0]).share(STEP, 8000) == pytest.approx(batched)
    assert measured(ALONE, 10, [1.0]).share(STEP, 8000) == pytest.approx(alone)


def test_ratios_are_to_the_baselines_under_the_same_load() -> None:
    table = markdown(
        report(
            measured(OURS, 64, [1.0]),
            measured(ALONE, 64, [30.0]),
            measured(OTHER, 64, [0.5]),
        )
    )
    assert row(table, OURS)[-2:] == ["30.00", "0.50"]
    assert row(table, OTHER)[-2:] == ["60.00", "1.00"]
    assert "!" not in table
    assert "Left out: vLLM: it is not there." in table


def test_too_small_a_ratio_is_marked() -> None:
    table = markdown(report(measured(OURS, 64, [1.0]), measured(ALONE, 64, [19.0])))
    assert row(table, OURS)[-2:] == ["19.00!", "-"]


async def test_what_has_not_ended_in_time_is_given_up() -> None:
    asked, given_up = 0, 0

    async def ask(_: int) -> Answer:
        nonlocal asked, given_up
        asked += 1
        if asked > 2:
            try:
                await asyncio.Event().wait()
            finally:
                given_up += 1
        return answer()

    seen = await load(ask, requests=9, at_once=3, limit=0.05)
    assert (len(seen.answers), given_up) == (2, 3)
    assert seen.seconds < 0.05


async def test_a_load_without_an_answer_in_time_fails() -> None:
    async def ask(_: int) -> Answer:
        await asyncio.Event().wait()
        return answer()

    with pytest.raises(RuntimeError, match=r"no answer ended within 0\.01 s"):
        await load(ask, requests=1, at_once=1, limit=0.01)


@pytest.mark.parametrize("silent", [2, 100])
async def test_a_prompt_that_gets_no_text_makes_place_for_another(silent: int) -> None:
    asked = 0

    async def ask(_: int) -> Answer:
        nonlocal asked
        asked += 1
        if asked <= silent:
            return Clock().answer(prompt_tokens=60, tokens=12)
        return answer()

    if silent > TRIES:
        with pytest.raises(SilentAnswerError, match="12 tokens came without any text"):
            await load(ask, requests=1, at_once=1)
    else:
        assert len((await load(ask, requests=2, at_once=1)).answers) == 2
    assert asked == min(silent + 2, TRIES)


async def test_no_two_requests_have_one_prompt() -> None:
    seeds = []

    async def ask(seed: int) -> Answer:
        seeds.append(seed)
        return answer()

    for _ in range(2):
        await load(ask, requests=3, at_once=2)
    assert len(set(seeds)) == 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("bench") / "llama", "tiny")


def test_what_a_step_reads_is_what_the_model_has(model: Path) -> None:
    loaded: Any = AutoModelForCausalLM.from_pretrained(model)
    count = sum(one.numel() for one in loaded.parameters())
    table = loaded.get_input_embeddings().weight.numel()
    with torch.inference_mode():
        cache = loaded(torch.zeros((1, 1), dtype=torch.long)).past_key_values
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert parameters(model) == count
    assert step_bytes(model) == StepBytes(2 * (count - table), kept)


def test_bandwidth_is_more_than_a_disk_has() -> None:
    assert copy_bandwidth("cpu") > 1e9


@pytest.mark.parametrize("servers", [False, True])
def test_everything_but_the_device_runs_on_a_cpu(
    servers: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(gpu_throughput.VLLM_VARIABLE, "/nowhere/python")
    plan = Plan(
        device="cpu",
        size="tiny",
        servers=servers,
        loads=(1, 3),
        words=8,
        tokens=12,
        rounds=2,
        limit=60.0,
    )
    found = benchmark(plan, tmp_path)
    names = list(dict.fromkeys(one.engine for one in found.measured))
    assert names == (
        ["pykaito", "transformers serve"]
        if servers
        else [in_process.BATCH, in_process.GENERATE]
    )
    for one in found.measured:
        assert [len(round_.answers) for round_ in one.rounds] == [
            max(2, one.at_once)
        ] * 2
        assert 0 < one.share(found.step, found.bandwidth) < 1
    assert "vLLM" in found.left_out
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [one["tokens_per_second"] for one in written["measured"]] == [
        one.rate for one in found.measured
    ]
    table = (tmp_path / "gpu.md").read_text()
    assert capsys.readouterr().out == table
    assert f"torch {torch.__version__}" in table


def test_an_engine_that_fails_is_left_out_and_the_others_go_on() -> None:
    class Failing:
        name, alone = OTHER, False

        def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
            raise RuntimeError(f"{requests} {at_once} {limit}\nout of memory")

    class Working:
        name, alone = OURS, False

        def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
            return Load([answer()] * requests, limit / at_once)

    plan = Plan(device="cpu", size="tiny")
    found = Subjects("Somehow", OURS, [Failing(), Working()], {})
    seen = gpu_throughput.measure(plan, found)
    assert [(one.engine, one.at_once) for one in seen] == [
        (OURS, at_once) for at_once in plan.loads
    ]
    assert found.left_out == {
        f"{OTHER}, {at_once} at once": "out of memory" for at_once in plan.loads
    }


def test_nothing_measured_is_an_error() -> None:
    plan = Plan(device="cpu", size="tiny", loads=())
    with pytest.raises(RuntimeError, match="nothing could be measured"):
        gpu_throughput.measure(plan, Subjects("Somehow", OURS, [], {}))


def test_requests_that_are_given_up_leave_the_model_to_others(model: Path) -> None:
    # Prompts so long that the first step outlives the requests.
    with in_process.engines(model, (), words=1200, tokens=9) as (batch, alone):
        with pytest.raises(RuntimeError, match="no answer ended"):
            batch.measure(requests=4, at_once=4, limit=0.001)
        assert batch.engine.running == 0
        with pytest.raises(RuntimeError, match="no answer ended"):
            alone.measure(requests=4, at_once=4, limit=0.001)
        short = [replace(engine, words=8) for engine in (batch, alone)]
        seen = [engine.measure(requests=2, at_once=2, limit=60.0) for engine in short]
    assert [len(one.answers) for one in seen] == [2, 2]


def test_a_machine_without_a_gpu_is_told_so_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With one it would measure.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu_throughput.run()
    (line,) = capsys.readouterr().out.splitlines()
    assert "left out, torch finds no GPU here" in line
    assert gpu_throughput.VLLM_VARIABLE in line
