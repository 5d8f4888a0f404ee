"""How far loading is, for who asks while it goes on.

The loading thread writes, the event loop reads.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOADING = "loading the weights"

#: What the time of these is counted as; that of all others is loading.
MEASURED_AS: Mapping[str, str] = {
    "starting": "import",
    "importing torch and transformers": "import",
    "downloading the weights": "download",
    "generating a first token": "first_token",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Download:
    """Files on their way from the hub into its cache.

    Args:
        folder: Where the cache keeps the model's files, finished or not.
        total: Their bytes, once all are there; None if the hub did not say.
        begun: By the monotonic clock.
        had: Bytes that were there by then.
    """

    folder: Path
    total: int | None
    begun: float
    had: int

    @classmethod
    def begin(cls, folder: Path, total: int | None) -> "Download":
        """Return the download that begins now."""
        return cls(folder, total, time.monotonic(), bytes_of(folder))

    def share(self) -> float | None:
        """Return how much is there, from 0 to 1; None where that is not known."""
        return min(1.0, bytes_of(self.folder) / self.total) if self.total else None

    def speed(self) -> float:
        """Return the bytes per second since it began."""
        seconds = time.monotonic() - self.begun
        return max(0, bytes_of(self.folder) - self.had) / seconds if seconds else 0.0

    def remaining(self) -> float:
        """Return the seconds it will take at this speed; -1 where that is not known."""
        speed = self.speed()
        if not self.total or not speed:
            return -1.0
        return max(0, self.total - bytes_of(self.folder)) / speed


class Progress:
    """What is being done, and how much of it is done.

    Args:
        clock: Returns seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Seconds of the start: ``import``, ``download``, ``load`` and
        #: ``first_token``, those that there were; empty until it is over.
        self.startup: Mapping[str, float] = {}
        self._clock = clock
        self._turned = clock()
        self._spent: dict[str, float] = {}
        self.stage = "starting"
        self.download: Download | None = None
        #: How much of the weights is in memory, from 0 to 1.
        self.loaded = 0.0

    def begin(self, stage: str) -> None:
        """Turn to another stage, whose progress nobody knows."""
        self._turn(stage, None)

    def begin_download(self, download: Download) -> None:
        """Turn to a download, which can be seen growing."""
        self._turn("downloading the weights", download)

    def load(self, loaded: float) -> None:
        """Say how much of the weights is in memory, from 0 to 1."""
        if self.stage != LOADING:
            self._turn(LOADING, None)
        self.loaded = loaded

    def finish(self) -> None:
        """Say that the first token is there."""
        self._turn("loaded", None)
        self.startup = self._spent

    @property
    def share(self) -> float | None:
        """How much of the stage is done, from 0 to 1; None if nobody knows."""
        download = self.download
        if download is not None:
            return download.share()
        return self.loaded if self.stage == LOADING else None

    def _turn(self, stage: str, download: Download | None) -> None:
        log.info(stage)
        now, spent_on = self._clock(), MEASURED_AS.get(self.stage, "load")
        self._spent[spent_on] = self._spent.get(spent_on, 0.0) + now - self._turned
        self._turned = now
        self.download = download
        self.stage = stage


def bytes_of(folder: Path) -> int:
    """Return what the folder's files take on the disk, the unfinished ones too."""
    total = 0
    for path in folder.glob("*"):
        try:
            # Not its length: parts of a file may be written from its end.
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # renamed meanwhile
            continue
    return total
