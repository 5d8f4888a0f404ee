"""Having a model of the hub fetched, and following how far that is."""

import logging
import multiprocessing
import re
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pykaito.runtime.hf.logs import configure_logs
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.hf.progress import Download, Progress

log = logging.getLogger(__name__)

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
class _Failed:
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
    context = multiprocessing.get_context("spawn")
    source, sink = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(wish, sink), daemon=True)
    worker.start()
    sink.close()
    try:
        return _follow(source, wish, progress, time.monotonic() + longest)
    finally:
        worker.kill()
        worker.join()


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
        if isinstance(said, _Failed):
            raise LoadError(said.reason)
        begun = Download.begin(said.blobs, said.total, said.present)
        progress.begin_download(begun)
    raise LoadError(f"--model: the download of {wish.model!r} took too long")


def _work(wish: Wish, sink: Connection) -> None:
    """Fetch, and say by what is sent what came of it."""
    # Of a terminal, it reaches the parent too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs()
    from pykaito.runtime.vllm.fetching import fetch  # noqa: PLC0415 - in this process alone

    # It would write what it logs a second time, in plain text.
    logging.getLogger("huggingface_hub").handlers.clear()
    try:
        sink.send(fetch(wish, sink.send))
    except LoadError as error:
        sink.send(_Failed(str(error)))
    except Exception as error:
        log.exception("the download failed")
        sink.send(_Failed(f"{type(error).__name__}: {error}"))
