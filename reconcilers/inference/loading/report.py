"""What a server's answer to ``GET /health`` says while it loads: pure.

The answer is that of a pod, which may run anything. Nothing of it is passed on but a
stage out of those that are known and numbers within bounds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: Bytes, more than any model has; beyond it a number is none.
_MOST_BYTES = 1e15
#: Seconds of a week: what takes longer is stuck.
_LONGEST = 7 * 86400

#: Percent points that are worth telling of.
STEP = 5


class Stage(StrEnum):
    """What a server is at, in its own words and in the order of a start."""

    STARTING = "starting"
    IMPORTING = "importing torch and transformers"
    IMPORTING_VLLM = "importing vLLM"
    ENGINE = "starting the engine"
    TOKENIZER = "loading the tokenizer"
    DOWNLOADING = "downloading the weights"
    LOADING = "loading the weights"
    ADAPTERS = "merging the adapters"
    PREPARING = "preparing the engine"
    COMPILING = "compiling the model"
    CAPTURING = "capturing CUDA graphs"
    GENERATING = "generating a first token"

    @property
    def measured_as(self) -> str:
        """What the runtimes' ``kaito_startup_seconds`` counts its time as."""
        return _MEASURED_AS.get(self, "load")


_MEASURED_AS: Mapping[Stage, str] = {
    Stage.STARTING: "import",
    Stage.IMPORTING: "import",
    Stage.IMPORTING_VLLM: "import",
    Stage.ENGINE: "import",
    Stage.DOWNLOADING: "download",
    Stage.PREPARING: "compile",
    Stage.COMPILING: "compile",
    Stage.CAPTURING: "compile",
    Stage.GENERATING: "first_token",
}


@dataclass(frozen=True, slots=True)
class Report:
    """How far a server is.

    Attributes:
        stage: what it is at.
        share: how much of that is done, from 0 to 1; None if that is not known, as
            with the others.
        done: bytes that are there.
        total: bytes that there will be.
        speed: bytes per second.
        left: seconds that it will take.
    """

    stage: Stage
    share: float | None = None
    done: float | None = None
    total: float | None = None
    speed: float | None = None
    left: float | None = None

    @property
    def percent(self) -> int | None:
        """The share as people say it, which is 100 only once all is done."""
        if self.share is None:
            return None
        # 0.29 * 100 is a little less than 29.
        return int(self.share * 100 + 1e-9)


def read(body: bytes) -> Report | None:
    """Return what an answer's body says, None if it says nothing that is known."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    stage = said.get("stage")
    if not isinstance(stage, str) or stage not in set(Stage):
        return None
    return Report(
        Stage(stage),
        share=_number(said, "progress", 1),
        done=_number(said, "downloaded_bytes", _MOST_BYTES),
        total=_number(said, "total_bytes", _MOST_BYTES),
        speed=_number(said, "bytes_per_second", _MOST_BYTES),
        left=_number(said, "seconds_left", _LONGEST),
    )


def is_news(told: Report | None, found: Report | None) -> bool:
    """Whether what is found differs enough from what was told to be told."""
    if told is None or found is None:
        return told is not found
    if told.stage is not found.stage:
        return True
    if told.percent is None or found.percent is None:
        return told.percent is not found.percent
    return abs(told.percent - found.percent) >= STEP


def _number(said: Mapping[str, Any], field: str, most: float) -> float | None:
    found = said.get(field)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    # Of what is no number, such as NaN, no comparison holds.
    return float(found) if 0 <= found <= most else None
