"""Having a model of the hub fetched, and following how far that is."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.hf.progress import Download, Progress

#: The module of the process that fetches. It sends `Begun` for each try of a download,
#: and in the end a path or `Failed`.
WORKER = "pykaito.runtime.vllm.fetching"

#: Seconds that a download may take, with all its tries.
LONGEST = 12 * 3600.0

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be fetched."""

    model: str
    revision: str | None
    #: Where models are kept; None for the place that libraries look at.
    cache: Path | None
    load_format: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A download has begun."""

    #: The folder that grows.
    blobs: Path
    #: Bytes when all is there.
    total: int
    #: Those that were there before.
    present: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It came to nothing."""

    #: One line for a person.
    reason: str


def is_hub_id(model: str) -> bool:
    """Whether a model's name is a hub's ``org/name`` and no folder's here."""
    return bool(_HUB_ID.fullmatch(model)) and not Path(model).exists()


def download(wish: Wish, progress: Progress, longest: float = LONGEST) -> Path:
    """Return the folder with a model's files, once they are there.

    Args:
        wish: what is fetched.
        progress: is told of it.
        longest: seconds that it may take.

    Raises:
        LoadError: it failed, or took too long.
    """
    pipe, sink = os.pipe()
    source = Connection(pipe, writable=False)
    told = [sink, wish.model, wish.revision, wish.cache, wish.load_format]
    # Not of multiprocessing, whose helpers would stay and have the last word.
    worker = subprocess.Popen(  # noqa: S603 - this very Python
        [sys.executable, "-m", WORKER, *(str(word or "") for word in told)],
        pass_fds=(sink,),
        stdin=subprocess.DEVNULL,
    )
    os.close(sink)
    try:
        return _follow(source, wish, progress, time.monotonic() + longest)
    finally:
        worker.kill()
        worker.wait()
        source.close()


def _follow(source: Connection, wish: Wish, progress: Progress, until: float) -> Path:
    while source.poll(max(0.0, until - time.monotonic())):
        try:
            said = source.recv()
        except EOFError:
            raise LoadError(
                f"--model: the download of {wish.model!r} ended without a word, as a "
                "process does that needs more memory than there is"
            ) from None
        if isinstance(said, Path):
            return said
        if isinstance(said, Failed):
            raise LoadError(said.reason)
        begun = Download.begin(said.blobs, said.total, said.present)
        progress.begin_download(begun)
    raise LoadError(f"--model: the download of {wish.model!r} took too long")
