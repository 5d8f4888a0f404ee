"""A model of the hub, fetched before vLLM starts, in a process of its own.

Left to itself, vLLM asks the hub from several processes, and ends with a traceback of
one of them. What the hub's client leaves behind in a process, threads and what it read
of the environment, goes with this one.
"""

import errno
import glob
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pykaito.runtime.hf.hub import ask_hub, cache_folder, refused, told
from pykaito.runtime.hf.logs import configure_logs
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.download import Begun, Failed, Wish
from pykaito.runtime.vllm.hub_files import (
    COPIES,
    SMALL,
    files_of,
    is_complete,
    weights_of,
)

log = logging.getLogger(__name__)

FLAG = "--model"

#: Tries of a download, and the seconds between two of them, which double.
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

#: Statuses of the hub after which another try makes sense, besides 500 and more.
PASSING = frozenset({408, 425, 429})
#: Errors of the disk that stay.
LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS})

#: Bytes that are written to a file at a time. A download that is cut off goes on after
#: the last of these, and this is how finely it can be seen growing.
PIECE = 1 << 20

#: Seconds without a byte after which nobody writes a file any more.
ABANDONED = 3600


@dataclass(frozen=True, slots=True)
class _Files:
    """What is fetched of a model."""

    names: Sequence[str]
    total: int


def fetch(
    wish: Wish,
    tell: Callable[[Begun], None],
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Return the folder with a model's files, fetched unless they are there.

    Args:
        wish: what is fetched.
        tell: is called when a download begins.
        pause: waits some seconds.

    Raises:
        LoadError: the hub refuses the model, or fails too often, or the disk is full.
    """
    constants.DOWNLOAD_CHUNK_SIZE = PIECE
    cache = Path(wish.cache or constants.HF_HUB_CACHE)
    answer = ask_hub(wish.model, wish.revision, flag=FLAG, cache=cache)
    if answer.silent:
        return _fetched_before(wish, cache)
    names = files_of(answer.sizes, wish.load_format)
    if not weights_of(names, wish.load_format):
        raise LoadError(
            f"{FLAG}: the hub's {wish.model!r} holds no weights that vLLM reads "
            "(*.safetensors, *.bin, *.pt)"
        )
    files = _Files(names, sum(answer.sizes[name] for name in names))
    blobs = cache_folder(wish.model, cache)
    _make(blobs)
    _remove_abandoned(blobs)
    return _try_often(
        wish, lambda: _download(wish, cache, blobs, files, tell), pause=pause
    )


def _download(
    wish: Wish, cache: Path, blobs: Path, files: _Files, tell: Callable[[Begun], None]
) -> Path:
    patterns = [glob.escape(name) for name in files.names]
    plan = snapshot_download(
        wish.model,
        revision=wish.revision,
        cache_dir=cache,
        allow_patterns=patterns,
        dry_run=True,
    )
    missing = sum(file.file_size or 0 for file in plan if file.will_download)
    if missing:
        _check_room(wish, cache, missing)
        tell(Begun(blobs, files.total, max(0, files.total - missing)))
    return Path(
        snapshot_download(
            wish.model,
            revision=wish.revision,
            cache_dir=cache,
            allow_patterns=patterns,
        )
    )


def _try_often(
    wish: Wish, download: Callable[[], Path], *, pause: Callable[[float], None]
) -> Path:
    seconds = FIRST_PAUSE
    for left in reversed(range(TRIES)):
        try:
            return download()
        except LoadError:
            raise
        except Exception as error:  # what the transport or the disk may raise
            if refusal := refused(error, wish.model, wish.revision, FLAG):
                raise LoadError(refusal) from error
            found = told(error)
            if not left or _stays(error):
                raise LoadError(
                    f"{FLAG}: the download of {wish.model!r} failed ({found})"
                ) from error
            log.warning("the download is tried again", extra={"error": found})
        pause(seconds)
        seconds = min(2 * seconds, LONGEST_PAUSE)
    raise AssertionError


def _stays(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status < 500 and status not in PASSING  # noqa: PLR2004 - HTTP's own
    if isinstance(error, OSError) and error.errno in LASTING:
        return True
    # Of a program that is not Python's, such as Xet's.
    return os.strerror(errno.ENOSPC) in str(error)


def _check_room(wish: Wish, cache: Path, missing: int) -> None:
    free = shutil.disk_usage(cache).free
    if missing > free:
        raise LoadError(
            f"--download-dir: {wish.model!r} needs {_size(missing)} more in {cache}, "
            f"where {_size(free)} are free"
        )


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"  # noqa: PLR2004 - 0.1 GB


def _fetched_before(wish: Wish, cache: Path) -> Path:
    """Return what an earlier start has fetched in full."""
    try:
        folder = Path(
            snapshot_download(
                wish.model,
                revision=wish.revision,
                cache_dir=cache,
                local_files_only=True,
                allow_patterns=list(SMALL),
                ignore_patterns=[f"{copy}/*" for copy in COPIES],
            )
        )
    except (LocalEntryNotFoundError, OSError):
        folder = None
    if folder is None or not is_complete(
        (path.name for path in folder.iterdir()), wish.load_format
    ):
        raise LoadError(
            f"{FLAG}: the hub does not answer, and of {wish.model!r} not everything "
            "was fetched before"
        )
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LoadError(
            f"--download-dir: cannot make {folder} ({error.strerror})"
        ) from error


def _remove_abandoned(blobs: Path) -> None:
    """Remove what downloads left behind that were killed: none can be continued."""
    for path in blobs.glob("*.incomplete"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
        except OSError:  # somebody else's, or gone
            continue


def main() -> None:
    """Fetch what the command line says, and send what comes of it to its parent."""
    # Of a terminal, it reaches the parent too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs()
    # It would write what it logs a second time, in plain text.
    logging.getLogger("huggingface_hub").handlers.clear()
    sink, model, revision, cache, load_format = sys.argv[1:]
    wish = Wish(model, revision or None, Path(cache) if cache else None, load_format)
    with Connection(int(sink), readable=False) as parent:
        try:
            parent.send(fetch(wish, parent.send))
        except LoadError as error:
            parent.send(Failed(str(error)))
        except Exception as error:
            log.exception("the download failed")
            parent.send(Failed(told(error)))


if __name__ == "__main__":
    main()
