"""Numbers from lists of the host, on their way to where a model computes."""

from collections.abc import Sequence
from typing import Any

import torch

Tensor = Any  # torch publishes no types that strict mode can read


def on_device(values: Sequence[Any], device: Any, dtype: Any = None) -> Tensor:
    """Return a tensor of numbers on a device, without waiting for the device.

    A plain copy to a GPU waits until the GPU has done all that it was told, so
    that it would idle while the next of a step's many small tasks is prepared; a
    copy from pinned memory is queued behind them.
    """
    tensor = torch.tensor(values, dtype=dtype)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
