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
    if limit is None:
        free = {device: free_memory(device) for device in per_token}
    else:
        free = dict.fromkeys(per_token, limit)
    return _slots(per_token, free, sequences * slots_needed(context_length))


def _slots(per_token: Mapping[Any, int], free: Mapping[Any, int], most: int) -> int:
    """Return what fits on every device: a unit at least, the most at most."""
    fitting = min(free[device] // size for device, size in per_token.items())
    return max(UNIT, min(fitting, most))


def free_memory(device: Any) -> int:
    """Return the bytes that a cache may take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * ACCELERATOR_SHARE)
    return int(free_on_host() * HOST_SHARE)


def free_on_host(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Return the bytes that this process can still get."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    try:
        most = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return available if most == "max" else max(0, min(available, int(most) - used))
