"""What a plan puts into memory, for people to read."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MemoryBreakdown:
    """What a replica takes of one GPU's memory, or of its node's RAM, in bytes.

    The GPUs of a replica hold alike, so that one stands for all of them.
    """

    #: Whose memory it is: that of each GPU, or the node's where a CPU computes.
    of: Literal["GPU", "RAM"]
    #: GPUs that share the replica; 1 for RAM.
    shares: int
    #: Weights with their LoRA adapters.
    weights: int
    #: Keys and values of the tokens of ``ModelServer.context_length``.
    cache: int
    #: Activations and workspaces of kernels; for RAM the server itself too.
    reserve: int
    #: What a GPU has, or what pods can have of the node; None when not known.
    capacity: int | None

    @property
    def total(self) -> int:
        """What all parts take together."""
        return self.weights + self.cache + self.reserve

    @property
    def percent(self) -> int | None:
        """The share of the capacity that is taken, rounded up; None if not known."""
        if self.capacity is None:
            return None
        return -(-100 * self.total // self.capacity)
