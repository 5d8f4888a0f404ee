"""The adapters that a server is started with, and those that it may be asked for.

``KAITO_ADAPTERS_FILE`` names a file with a list that may change while the server
runs; without it the list is in ``KAITO_ADAPTERS`` and stays. A pod has the files of
some adapters from its start to its end, listed or not.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pykaito.runtime.hf.adapters import (
    ADAPTERS_VARIABLE,
    NAME,
    Adapter,
    parse_adapters,
)
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm.adapters import Lora, prepare

log = logging.getLogger(__name__)

LIST_VARIABLE = "KAITO_ADAPTERS_FILE"


@dataclass(frozen=True, slots=True)
class Start:
    """What vLLM has to have room for."""

    #: Served from the start.
    loras: tuple[Lora, ...] = ()
    #: There beside them, and sound.
    unlisted: tuple[Lora, ...] = ()
    #: Whether the list may change.
    follows: bool = False


def adapters_at_start(environ: Mapping[str, str], folder: Path, scratch: Path) -> Start:
    """Return what the environment, the list and the folder of adapters say.

    Args:
        environ: the process's.
        folder: holds a folder per adapter, of its name.
        scratch: for what is written.

    Raises:
        FlagError: the list is malformed, or cannot be read.
        LoadError: a listed adapter's files are malformed, or missing where the list
            cannot change.
    """
    path = environ.get(LIST_VARIABLE)
    if not path:
        adapters = parse_adapters(environ.get(ADAPTERS_VARIABLE), folder)
        return Start(prepare(adapters, scratch))
    listed = read_list(Path(path), folder)
    loras = prepare([adapter for adapter in listed if is_here(adapter)], scratch)
    names = {adapter.name for adapter in listed}
    return Start(loras, tuple(_unlisted(folder, names, scratch)), follows=True)


def read_list(path: Path, folder: Path) -> tuple[Adapter, ...]:
    """Return the adapters that the file asks for.

    Raises:
        FlagError: it cannot be read, or is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"{LIST_VARIABLE}: {path} cannot be read ({error})") from error
    if not text.strip():
        raise FlagError(f"{LIST_VARIABLE}: {path} is empty; a list of none is []")
    return parse_adapters(text, folder, where=str(path))


def is_here(adapter: Adapter) -> bool:
    """Whether the pod has the adapter's files; one that has not is being replaced."""
    if adapter.folder.is_dir():
        return True
    log.info("no files of this adapter in this pod", extra={"adapter": adapter.name})
    return False


def _unlisted(folder: Path, listed: Collection[str], scratch: Path) -> Iterator[Lora]:
    """Yield what could be listed later. What is malformed must not stop the rest."""
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        if child.name in listed or not (child.is_dir() and NAME.fullmatch(child.name)):
            continue
        try:
            yield from prepare([Adapter(child.name, 1.0, child)], scratch)
        except LoadError as error:
            log.info("an adapter that could not be served", extra={"error": str(error)})
