"""Each model is served by vLLM with the parsers and modes that it was made for."""

from pathlib import Path

import pytest

from pykaito.runtime.presets.catalogue import Preset, catalogue, find_preset
from pykaito.runtime.presets.vllm_flags import (
    CHAT_TEMPLATES,
    needs_cuda_toolkit,
    vllm_environment,
    vllm_flags,
)

GOLDEN = Path(__file__).with_name("vllm_flags.golden")


def golden() -> list[list[str]]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return [line.split(" | ") for line in lines if not line.startswith("#")]


def model(name: str, architecture: str = "") -> Preset:
    """Return a model of the hub that the catalogue does not have."""
    return find_preset("phi-4").model_copy(
        update={"name": name, "hub": name, "architecture": architecture}
    )


def as_row(preset: Preset) -> list[str]:
    """Say a model's flags as the golden file does."""
    flags = dict(vllm_flags(preset))
    modes = [
        flags.pop(mode, None) or "auto"
        for mode in ("tokenizer-mode", "config-format", "load-format")
    ]
    template = flags.pop("chat-template", None) or "-"
    parser = flags.pop("tool-call-parser", None) or "-"
    assert ("enable-auto-tool-choice" in flags) == (parser != "-")
    flags.pop("enable-auto-tool-choice", None)
    row = [
        preset.hub.rpartition("/")[2].lower(),
        preset.architecture,
        parser,
        flags.pop("reasoning-parser", None) or "-",
        template.removeprefix(f"{CHAT_TEMPLATES}/"),
        "/".join(modes),
    ]
    others = [
        name if value is None else f"{name}={value}" for name, value in flags.items()
    ]
    others += ["cuda-toolkit"] if needs_cuda_toolkit(preset) else []
    others += [f"{name}={value}" for name, value in vllm_environment(preset).items()]
    return [*row, " ".join(others) or "-"]


@pytest.mark.parametrize("expected", golden(), ids=lambda row: row[0])
def test_a_model_gets_the_flags_that_it_was_tested_with(expected: list[str]) -> None:
    assert as_row(find_preset(expected[0])) == expected


def test_every_model_of_the_newest_catalogue_is_held() -> None:
    assert len(golden()) == 60
    older = {"falcon", "llama-2", "phi-2"}
    others = set(catalogue()) - {find_preset(row[0]).name for row in golden()}
    assert all(any(name.startswith(family) for family in older) for name in others)


def test_the_longest_name_wins() -> None:
    assert vllm_flags(model("zai-org/GLM-4.7-Air"))["tool-call-parser"] == "glm47"
    assert vllm_flags(model("zai-org/GLM-4-9B"))["tool-call-parser"] == "glm45"


def test_a_name_counts_before_the_architecture() -> None:
    named = model("Qwen/Qwen3-Coder-30B", "Qwen3ForCausalLM")
    assert vllm_flags(named)["tool-call-parser"] == "qwen3_xml"


def test_kimi_k2_is_found_by_its_name() -> None:
    flags = vllm_flags(model("moonshotai/Kimi-K2-Instruct"))
    assert flags["tool-call-parser"] == flags["reasoning-parser"] == "kimi_k2"


def test_a_model_that_nothing_is_known_of_gets_no_flag() -> None:
    assert vllm_flags(model("someone/something")) == {}


def test_models_from_before_tool_calls_get_no_parser() -> None:
    assert "tool-call-parser" not in vllm_flags(find_preset("llama-2-7b-chat"))


def test_flags_come_in_one_order() -> None:
    assert list(vllm_flags(find_preset("deepseek-v3.2"))) == [
        "tokenizer-mode",
        "tool-call-parser",
        "enable-auto-tool-choice",
        "reasoning-parser",
        "chat-template",
        "kernel-config",
    ]
