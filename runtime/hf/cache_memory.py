"""How much memory the keys and values of a batch may take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pykaito.runtime.hf.kv_cache import UNIT, LayerShape, slots_needed

#: Shares of the free memory, when nobody says how much to take. What is left is
#: for activations and ``generate``; on a CPU for other processes too.
ACCELERATOR_SHARE = 0.7
HOST_SHARE = 0.25
#: The share where less would not hold one sequence of the whole context, which is
#: promised by the plan. A CPU's plan says how many bytes it means.
WHOLE_CONTEXT_SHARE = 0.9

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


def cache_slots(
    layers: Sequence[LayerShape],
    *,
    sequences: int,
    context_length: int,
    limit: int | None,
) -> int:
    """Return for how many tokens the cache should have slots.

    Args:
        layers: What each layer keeps for a token.
        sequences: How many share a batch: more slots than these can fill are
            of no use.
        context_length: Most tokens of each.
        limit: Bytes on each device; None: a share of what is free.
    """
    per_token: defaultdict[Any, int] = defaultdict(int)
    for layer in layers:
        per_token[layer.device] += layer.bytes_per_token
    needed = slots_needed(context_length)
    if limit is not None:
        return _slots(per_token, dict.fromkeys(per_token, limit), sequences * needed)
    usual, most = {}, {}
    for device in per_token:
        free, accelerated = free_memory(device), device.type == "cuda"
        share = ACCELERATOR_SHARE if accelerated else HOST_SHARE
        usual[device] = int(free * share)
        most[device] = int(free * (WHOLE_CONTEXT_SHARE if accelerated else share))
    return max(
        _slots(per_token, usual, sequences * needed), _slots(per_token, most, needed)
    )


def _slots(per_token: Mapping[Any, int], free: Mapping[Any, int], most: int) -> int:
    """Return what fits on every device: a unit at least, the most at most."""
    fitting = min(free[device] // size for device, size in per_token.items())
    return max(UNIT, min(fitting, most))


def free_memory(device: Any) -> int:
    """Return the bytes of a device that nobody has yet."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return free_on_host()


def free_on_host(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the bytes that this process can still get.

    Files that were read and are not in use, such as the weights, count as free: the
    kernel drops them for whoever asks.
    """
    available = _fields(meminfo)["MemAvailable:"] * 1024
    try:
        most = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        files = _fields(cgroup / "memory.stat")["inactive_file"]
    except (OSError, ValueError, KeyError):
        return available
    if most == "max":
        return available
    return max(0, min(available, int(most) - used + files))


def _fields(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {name: int(number) for name, number, *_ in lines}
