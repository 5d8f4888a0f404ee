"""Servers on a GPU, or on the CPU that takes its place in tests, as engines."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.bench.servers import (
    OURS,
    SERVE,
    VLLM,
    Command,
    Server,
    ask_many,
    ours,
    serve,
    started,
    vllm,
)
from hack.bench.traffic import Load

__all__ = ["OURS", "VLLM", "OverHttp", "commands", "started"]

#: Of a GPU's memory that vLLM asks to be free; what it takes for keys and values is
#: said apart.
VLLM_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class OverHttp:
    """A server as an engine."""

    server: Server
    words: int
    tokens: int

    @property
    def name(self) -> str:
        """The server's."""
        return self.server.name

    @property
    def alone(self) -> bool:
        """Whether it answers one request at a time, whoever waits."""
        return self.server.name == SERVE

    def measure(self, *, requests: int, at_once: int, limit: float) -> Load:
        """Send requests; see `load`."""
        with self.server.awake():
            return asyncio.run(
                ask_many(
                    self.server,
                    requests=requests,
                    at_once=at_once,
                    words=self.words,
                    tokens=self.tokens,
                    limit=limit,
                )
            )


def commands(
    device: str, model: Path, flags: Sequence[str], python: str | None
) -> list[Command]:
    """Return what starts the servers.

    Args:
        device: ``cuda`` or ``cpu``.
        model: Its folder.
        flags: What the runtime and vLLM are told alike.
        python: One that has vLLM; None: none has.
    """
    found = [ours(model, *flags), serve(model, "auto" if device == "cuda" else device)]
    if python is not None:
        share = f"--gpu-memory-utilization={VLLM_SHARE}"
        found.append(vllm(model, python, "--dtype=bfloat16", share, *flags))
    return found
