"""How far vLLM's start is, by the lines that its processes write.

They are written for people and differ between versions: a line that is not known
changes nothing, and a start whose lines are all unknown goes on in one stage.
"""

import re

from pykaito.runtime.hf.progress import FIRST_TOKEN, LOADED, LOADING, Progress

IMPORTING = "importing vLLM"
ENGINE = "starting the engine"
PREPARING = "preparing the engine"
COMPILING = "compiling the model"
CAPTURING = "capturing CUDA graphs"

#: Stages in the order of a start. Of several workers the first to reach one counts.
_ORDER = (ENGINE, LOADING, PREPARING, COMPILING, CAPTURING, FIRST_TOKEN, LOADED)

#: A bar of files, whose first words depend on who reads them.
_SHARDS = re.compile(r"\bLoading .*\d% Completed \| (\d+)/(\d+) \[", re.IGNORECASE)
_GRAPHS = re.compile(r"\bCapturing CUDA graphs.*\| (\d+)/(\d+) \[")
_BEGINNINGS = (
    (re.compile(r"\bStarting to load model "), LOADING),
    (re.compile(r"\bModel loading took "), PREPARING),
    (re.compile(r"\bKV cache size: "), PREPARING),
    (re.compile(r"\bStarting torch\.compile\b"), COMPILING),
    (re.compile(r"\bDynamo bytecode transform time: "), COMPILING),
    (re.compile(r"\bWarming up model for the compilation\b"), COMPILING),
)


class Stages:
    """Moves a start's progress by what it hears.

    Args:
        progress: the start's.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def hear(self, line: str) -> None:
        """Take a line into account."""
        if bar := _SHARDS.search(line):
            # Draft models are loaded after the model itself.
            share = max(self._progress.loaded, _share(bar))
            if self._is_at_or_before(LOADING):
                self._progress.load(share)
        elif bar := _GRAPHS.search(line):
            if self._is_at_or_before(CAPTURING):
                self._progress.advance(CAPTURING, _share(bar))
        else:
            begun = [stage for words, stage in _BEGINNINGS if words.search(line)]
            if begun and self._is_before(begun[0]):
                self._begin(begun[0])

    def _begin(self, stage: str) -> None:
        if stage == LOADING:
            self._progress.load(0)
            return
        self._progress.loaded = 1.0
        self._progress.begin(stage)

    def _is_before(self, stage: str) -> bool:
        now = self._progress.stage
        return now not in _ORDER or _ORDER.index(now) < _ORDER.index(stage)

    def _is_at_or_before(self, stage: str) -> bool:
        return self._progress.stage == stage or self._is_before(stage)


def _share(bar: re.Match[str]) -> float:
    return min(1.0, int(bar[1]) / max(1, int(bar[2])))
