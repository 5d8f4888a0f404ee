"""How far loading is, for who asks while it goes on.

The thread that loads writes, others read.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOWNLOADING = "downloading the weights"
LOADING = "loading the weights"
FIRST_TOKEN = "generating a first token"  # noqa: S105 - of a model
LOADED = "loaded"

#: What the time of these is counted as; that of all others is loading.
MEASURED_AS: Mapping[str, str] = {
    "starting": "import",
    "importing torch and transformers": "import",
    "importing vLLM": "import",
    "starting the engine": "import",
    DOWNLOADING: "download",
    "preparing the engine": "compile",
    "compiling the model": "compile",
    "capturing CUDA graphs": "compile",
    FIRST_TOKEN: "first_token",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Download:
    """Files on their way from the hub into its cache.

    Args:
        folder: Where the cache keeps the model's files, finished or not.
        total: Their bytes, once all are there; None if the hub did not say.
        begun: By the monotonic clock.
        had: Bytes that were there by then, those of other versions too.
        present: Bytes of the total that were there by then.
    """

    folder: Path
    total: int | None
    begun: float
    had: int
    present: int

    @classmethod
    def begin(
        cls, folder: Path, total: int | None, present: int | None = None
    ) -> "Download":
        """Return the download that begins now.

        Args:
            folder: As above.
            total: As above.
            present: As above; what is in the folder, if nobody knows better.
        """
        had = bytes_of(folder)
        now = time.monotonic()
        return cls(folder, total, now, had, had if present is None else present)

    def done(self) -> int:
        """Return the bytes of the total that are there."""
        found = self.present + max(0, bytes_of(self.folder) - self.had)
        return found if self.total is None else min(found, self.total)

    def share(self) -> float | None:
        """Return how much is there, from 0 to 1; None where that is not known."""
        return self.done() / self.total if self.total else None

    def speed(self) -> float:
        """Return the bytes per second since it began."""
        seconds = time.monotonic() - self.begun
        return (self.done() - self.present) / seconds if seconds else 0.0

    def remaining(self) -> float:
        """Return the seconds it will take at this speed; -1 where that is not known."""
        speed = self.speed()
        if not self.total or not speed:
            return -1.0
        return (self.total - self.done()) / speed

    def report(self) -> dict[str, float | None]:
        """Return the numbers that ``/health`` tells."""
        remaining = self.remaining()
        return {
            "downloaded_bytes": self.done(),
            "total_bytes": self.total,
            "bytes_per_second": round(self.speed()),
            "seconds_left": None if remaining < 0 else round(remaining),
        }


class Progress:
    """What is being done, and how much of it is done.

    Args:
        clock: Returns seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Seconds of the start: ``import``, ``download``, ``load``, ``compile`` and
        #: ``first_token``, those that there were; empty until it is over.
        self.startup: Mapping[str, float] = {}
        self._clock = clock
        self._turned = clock()
        self._spent: dict[str, float] = {}
        self._share: float | None = None
        self.stage = "starting"
        self.download: Download | None = None
        #: How much of the weights is in memory, from 0 to 1.
        self.loaded = 0.0

    def begin(self, stage: str) -> None:
        """Turn to another stage, whose progress nobody knows."""
        self._turn(stage, None)

    def advance(self, stage: str, share: float) -> None:
        """Say how much of a stage is done, from 0 to 1; turn to it if need be."""
        if self.stage != stage:
            self._turn(stage, None)
        self._share = share

    def begin_download(self, download: Download) -> None:
        """Turn to a download, which can be seen growing."""
        self._turn(DOWNLOADING, download)

    def load(self, loaded: float) -> None:
        """Say how much of the weights is in memory, from 0 to 1."""
        self.advance(LOADING, loaded)
        self.loaded = loaded

    def finish(self) -> None:
        """Say that the first token is there."""
        self._turn(LOADED, None)
        self.startup = self._spent

    @property
    def share(self) -> float | None:
        """How much of the stage is done, from 0 to 1; None if nobody knows."""
        download = self.download
        return self._share if download is None else download.share()

    def report(self) -> dict[str, Any]:
        """Return what ``/health`` tells of a start that goes on."""
        download, share = self.download, self.share
        return {
            "stage": self.stage,
            "progress": None if share is None else round(share, 3),
            **({} if download is None else download.report()),
        }

    def _turn(self, stage: str, download: Download | None) -> None:
        log.info(stage)
        now, spent_on = self._clock(), MEASURED_AS.get(self.stage, "load")
        self._spent[spent_on] = self._spent.get(spent_on, 0.0) + now - self._turned
        self._turned = now
        self._share = None
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
