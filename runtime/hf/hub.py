"""Models of the hub: how much there is to fetch, and refusals in plain words.

The token, where one is needed, is read from ``HF_TOKEN`` by huggingface_hub
itself, and appears in no message.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from pykaito.runtime.hf.model_source import FLAG, LoadError

log = logging.getLogger(__name__)

#: Seconds for the hub's word on a model. The files themselves may take longer.
TIMEOUT = 10.0

#: A client that may not send a header repeats it in its error.
_CREDENTIALS = re.compile(r"Bearer\b.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the hub said of a model."""

    #: Bytes by the names of the model's files; 0 where it did not say.
    sizes: Mapping[str, int] = field(default_factory=dict)
    #: Whether there was no answer, so that what is here must do.
    silent: bool = False

    @property
    def weights(self) -> int | None:
        """Bytes of the weights that transformers loads; None if that is not known."""
        return weights_bytes(self.sizes) or None


def ask_hub(
    model: str,
    revision: str | None,
    *,
    flag: str = FLAG,
    cache: Path | None = None,
) -> HubAnswer:
    """Ask for a model, once, and not for long.

    Left to themselves, the libraries would try for minutes.

    Args:
        model: its id.
        revision: commit, tag or branch; None for the main one.
        flag: that named the model.
        cache: the folder where models are kept; None for the libraries' own.

    Raises:
        LoadError: if the hub refuses the model, or does not answer and the model's
            files are not here since an earlier start.
    """
    try:
        info = HfApi().model_info(
            model, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
    except Exception as error:  # also what its transport raises
        if refusal := refused(error, model, revision, flag):
            raise LoadError(refusal) from error
        found = told(error)
        if not cache_folder(model, cache).exists():
            raise LoadError(
                f"{flag}: the hub does not answer ({found}), and {model!r} was not "
                "fetched before"
            ) from error
        log.warning("the hub does not answer", extra={"error": found})
        return HubAnswer(silent=True)
    return HubAnswer({one.rfilename: one.size or 0 for one in info.siblings or ()})


def refused(error: Exception, model: str, revision: str | None, flag: str) -> str:
    """Return what an error says if it is a hub's refusal, which stays; else ""."""
    if isinstance(error, GatedRepoError):
        return (
            f"{flag}: the hub gives {model!r} to those alone who have accepted its "
            "terms: accept them on the model's page, and put that account's token "
            "into HF_TOKEN (of a Workspace: the Secret of modelAccessSecret)"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"--revision: found {revision!r}, which {model!r} has not on the hub"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{flag}: the hub has no model {model!r}, or hides it from those without "
            "a token (HF_TOKEN)"
        )
    return ""


def told(error: Exception) -> str:
    """Return an error of the hub's client in one line, which shows no token."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return _CREDENTIALS.sub("(a token that cannot be sent)", text)


def weights_bytes(sizes: Mapping[str, int]) -> int:
    """Return the bytes of the files that transformers chooses among a model's."""
    chosen = [name for name in sizes if Path(name).match("model*.safetensors")]
    if not chosen:
        chosen = [name for name in sizes if Path(name).match("pytorch_model*.bin")]
    return sum(sizes[name] for name in chosen if "/" not in name)


def cache_folder(model: str, cache: Path | None = None) -> Path:
    """Return where a cache keeps a model's files; None is the libraries' own."""
    name = repo_folder_name(repo_id=model, repo_type="model")
    return Path(cache or constants.HF_HUB_CACHE, name, "blobs")
