"""The least time of a decoding step: what memory has to deliver for it.

A step reads every weight once, and the keys and values of every sequence, so that
it takes no less than

    (weights + sequences * context * keys and values of a token) / bandwidth

which is the roofline model's memory bound (Williams, Waterman and Patterson 2009,
doi:10.1145/1498765.1498785) for decoding, as Pope et al. 2022 (arXiv:2211.05102,
section 2) have it. Bandwidth is what a copy within memory reaches here, in bytes
read and written, as STREAM's Copy counts them; a step reads alone, which memory may
do a little faster.
"""

import time

import torch

from hack.bench.model_folder import StepBytes

#: Bytes that a copy reads: more than any cache holds.
COPIED = {"cuda": 4 << 30, "cpu": 256 << 20}
ROUNDS = 5
COPIES = 4

FORMULA = "(weights + sequences · context · keys and values of a token) / bandwidth"


def least_seconds(
    step: StepBytes, *, sequences: int, context: float, bandwidth: float
) -> float:
    """Return what a step takes at least.

    Args:
        step: What it reads.
        sequences: How many share it.
        context: Tokens of each.
        bandwidth: Bytes a second.
    """
    return (step.weights + sequences * context * step.per_token) / bandwidth


def copy_bandwidth(device: str) -> float:
    """Return bytes read and written a second, in the best of some rounds."""
    source = torch.ones(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(ROUNDS):
        _finish(device)
        begun = time.perf_counter()
        for _ in range(COPIES):
            target.copy_(source)
        _finish(device)
        taken = time.perf_counter() - begun
        best = max(best, 2 * COPIES * source.nbytes / taken)
    del source, target
    if device == "cuda":
        torch.cuda.empty_cache()
    return best


def _finish(device: str) -> None:
    """Wait for what the device has been told to do."""
    if device == "cuda":
        torch.cuda.synchronize()
