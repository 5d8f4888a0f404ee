from pathlib import Path
from typing import Any

import pytest
import torch

from pykaito.runtime.hf.cache_memory import cache_slots, free_on_host
from pykaito.runtime.hf.kv_cache import UNIT, LayerShape

MIB = 1 << 20


def layer(device: str = "cpu") -> LayerShape:
    """Return a layer that keeps 1 KiB for a token."""
    where = torch.device(device)
    return LayerShape(4, 64, 64, torch.float16, where)


def slots(
    layers: Any, limit: int | None, *, sequences: int = 1000, context: int = 4096
) -> int:
    return cache_slots(layers, sequences=sequences, context_length=context, limit=limit)


def test_the_limit_is_what_all_layers_take_together() -> None:
    assert slots([layer()] * 4, 64 * MIB) == 16 * 1024


def test_the_limit_is_that_of_each_device() -> None:
    """What the fullest one holds, all hold."""
    layers = [layer("cuda:0"), layer("cuda:1"), layer("cuda:1")]
    assert slots(layers, 64 * MIB) == 32 * 1024


def test_there_are_no_more_slots_than_sequences_can_fill() -> None:
    assert slots([layer()], 1024 * MIB, sequences=3) == 3 * 4096


def test_there_is_always_memory_for_one_sequence() -> None:
    assert slots([layer()], 1) == UNIT


@pytest.mark.parametrize(
    ("free", "found"),
    [
        pytest.param(64, 0.7 * 64 * 1024, id="several sequences in the usual share"),
        pytest.param(18, 16 * 1024, id="one in more than the usual share"),
        pytest.param(10, 0.9 * 10 * 1024, id="none at all"),
    ],
)
def test_a_gpu_holds_the_whole_context_if_it_can(
    monkeypatch: pytest.MonkeyPatch, free: int, found: float
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * MIB, 0))
    assert slots([layer("cuda:0")], None, context=16 * 1024) == int(found)


@pytest.mark.parametrize(
    ("most", "free"), [("max", 800), ("500", 250), ("5000", 800), ("100", 0)]
)
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, most: str, free: int
) -> None:
    number = most if most == "max" else str(int(most) * MIB)
    (tmp_path / "memory.max").write_text(f"{number}\n")
    (tmp_path / "memory.current").write_text(f"{300 * MIB}\n")
    files = f"file {90 * MIB}\ninactive_file {50 * MIB}\nactive_file {40 * MIB}\n"
    (tmp_path / "memory.stat").write_text(files)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 9 kB\nMemAvailable: {800 * 1024} kB\n")
    assert free_on_host(tmp_path, meminfo) == free * MIB


def test_a_machine_without_control_groups_has_what_it_says(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 5 kB\n")
    assert free_on_host(tmp_path, meminfo) == 5 * 1024
