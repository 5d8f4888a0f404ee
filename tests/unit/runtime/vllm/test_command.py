"""What vLLM is told, of the command, the file and the adapters of a pod."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack import paths
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.presets import vllm_options
from pykaito.runtime.vllm import command
from pykaito.runtime.vllm.adapter_start import Start
from pykaito.runtime.vllm.adapters import Lora
from pykaito.runtime.vllm.command import (
    Syntax,
    command_line,
    names_of,
    value_of,
    without,
)

OPTIONS = paths.ROOT / "runtime" / "presets" / "vllm_options.yaml"
GIVEN = ("--model=/m", "--port=5000", "--max-model-len=auto")


def syntax() -> Syntax:
    known = yaml.safe_load(OPTIONS.read_text())
    return Syntax(
        frozenset(known["switches"]), frozenset({"api-key"}), (1, 8, 16, 64, 128)
    )


def line(
    *given: str,
    options: dict[str, Any] | None = None,
    adapters: Start | None = None,
    limited: bool = True,
) -> list[str]:
    words = given or GIVEN
    return command_line(
        words, options or {}, adapters or Start(), syntax(), limited=limited
    )


def test_a_file_goes_before_the_command_and_so_comes_after_it() -> None:
    found = line(*GIVEN, "--dtype=auto", options={"dtype": "float16"})
    assert found.index("--dtype=float16") > found.index("--dtype=auto")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpu-memory-utilization": 0.9}, ["--gpu-memory-utilization=0.9"]),
        ({"max_num_seqs": 8}, ["--max-num-seqs=8"]),
        ({"enforce-eager": True}, ["--enforce-eager"]),
        ({"enforce_eager": "True"}, ["--enforce-eager"]),
        ({"enforce-eager": False}, ["--no-enforce-eager"]),
        ({"no-enable-prefix-caching": True}, ["--no-enable-prefix-caching"]),
        ({"no-enable-prefix-caching": False}, ["--enable-prefix-caching"]),
        ({"disable-log-stats": True}, ["--disable-log-stats"]),
        ({"disable-log-stats": False}, []),
        ({"api-key": ["a", "b"]}, ["--api-key", "a", "b"]),
        ({"api-key": "a"}, ["--api-key=a"]),
        ({"allowed-origins": ["*"]}, ['--allowed-origins=["*"]']),
        ({"compilation-config": {"level": 3}}, ['--compilation-config={"level": 3}']),
        ({"compilation_config.pass_config.fuse_x": False},
         ["--compilation-config.pass_config.fuse_x=false"]),
        ({"seed": None}, []),
        ({"swap-space": 4}, []),
    ],
)  # fmt: skip
def test_an_option_is_written_as_vllm_reads_it(
    options: dict[str, Any], words: list[str]
) -> None:
    assert line(options=options) == [*line(), *words]


def test_a_length_that_the_plan_has_cut_stays_cut() -> None:
    options = {"max_model_len": 131072}
    cut = line("--model=/m", "--max-model-len=4096", options=options)
    assert [word for word in cut if "max-model-len" in word] == ["--max-model-len=4096"]
    assert line(options=options)[-1] == "--max-model-len=131072"


def test_what_is_not_given_is_as_in_a_pod() -> None:
    found = line("--dtype=auto")
    assert {"--model=/workspace/weights", "--port=5000"} <= set(found)
    assert not {"--model=/workspace/weights"} & set(line())


def test_adapters_are_models_by_their_names() -> None:
    loras = (Lora("law", Path("/a/law"), 8), Lora("tone.v2", Path("/b"), 33))
    found = line(adapters=Start(loras))
    start = found.index("--enable-lora")
    assert found[start : start + 6] == [
        "--enable-lora",
        "--max-loras=2",
        "--max-lora-rank=64",
        "--lora-modules",
        "law=/a/law",
        "tone.v2=/b",
    ]
    assert "--enable-lora" not in line()


def test_a_list_that_may_change_has_room_for_all_the_pod_has_and_one_more() -> None:
    law, tone = Lora("law", Path("/a/law"), 8), Lora("tone", Path("/b"), 33)
    found = line(adapters=Start((law,), (tone,), follows=True))
    assert {"--max-loras=3", "--max-lora-rank=64", "law=/a/law"} <= set(found)
    assert "tone=/b" not in found
    assert f"--middleware={command.ADAPTER_UPDATES}" in found


def test_an_empty_list_may_be_filled_later() -> None:
    found = line(adapters=Start((), (Lora("law", Path("/a"), 8),), follows=True))
    assert {"--enable-lora", "--max-loras=2", "--max-lora-rank=8"} <= set(found)
    assert "--lora-modules" not in found


def test_an_adapter_that_is_not_listed_and_cannot_be_served_needs_no_room() -> None:
    big = Lora("big", Path("/b"), 129)
    assert "--enable-lora" not in line(adapters=Start((), (big,), follows=True))


def test_adapters_of_the_environment_are_not_followed() -> None:
    found = line(adapters=Start((Lora("law", Path("/a"), 8),)))
    assert f"--middleware={command.ADAPTER_UPDATES}" not in found


def test_an_adapter_with_more_rank_than_vllm_serves_is_named() -> None:
    with pytest.raises(LoadError, match=r"'big': found rank 129, vLLM .* up to 128"):
        line(adapters=Start((Lora("big", Path("/b"), 129),)))


def test_requests_are_limited_unless_told_otherwise() -> None:
    names = (
        *(command.HAND_OVER, command.DESCRIPTION),
        *(command.RATE_LIMIT, command.ACTIVE_HEALTH, command.CLOSED),
        command.FAILURES,
    )
    given = [f"--middleware={name}" for name in names]
    assert [w for w in line() if "middleware" in w] == given
    unlimited = line(limited=False)
    assert [w for w in unlimited if "middleware" in w] == [*given[:2], *given[3:]]


def test_the_syntax_is_that_of_the_parser() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-q", "--quiet", action=argparse.BooleanOptionalAction)
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--max-lora-rank", type=int, choices=[8, 16])
    found = Syntax.of(parser)
    assert found.switches >= {"quiet", "no-quiet"}
    assert found.lists == {"names"}
    assert found.ranks == (8, 16)


def test_operator_and_runtime_leave_the_same_options_out() -> None:
    assert command.RETIRED == vllm_options.RETIRED


@pytest.mark.parametrize(
    ("given", "options", "value"),
    [
        (["--download-dir=/a", "--download_dir", "/b"], {}, "/b"),
        (["--download-dir=/a"], {"download_dir": "/c"}, "/c"),
        (["--download-dir=/a"], {"download-dir": None}, "/a"),
        (["--dtype=auto"], {}, None),
    ],
)
def test_what_vllm_will_take_an_option_to_be_is_known_before(
    given: list[str], options: dict[str, Any], value: str | None
) -> None:
    assert value_of("download-dir", given, options) == value


def test_an_option_is_taken_out_with_its_value() -> None:
    given = ["--dtype=auto", "--model", "a/b", "--enforce-eager", "--model=c"]
    assert without("model", given) == ["--dtype=auto", "--enforce-eager"]
    assert names_of(given, {"max_num_seqs": 4}) == {
        "dtype",
        "model",
        "enforce-eager",
        "max-num-seqs",
    }
