"""Models of the hub: how much there is to fetch, and refusals in plain words.

The token, where one is needed, is read from ``HF_TOKEN`` by huggingface_hub
itself, and appears in no message.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.model_source import FLAG, LoadError

log = logging.getLogger(__name__)

#: Seconds for the hub's word on a model. The files themselves may take longer.
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the hub said of a model."""

    #: Bytes of the weights; None if it did not say.
    weights: int | None = None
    #: Whether there was no answer, so that what is here must do.
    silent: bool = False


def ask_hub(settings: Settings) -> HubAnswer:
    """Ask for the model that the flags name, once, and not for long.

    Left to themselves, the libraries would try for minutes.

    Raises:
        LoadError: if the hub refuses the model, or does not answer and the model's
            files are not here since an earlier start.
    """
    model, revision = settings.pretrained_model_name_or_path, settings.revision
    try:
        info = HfApi().model_info(
            model, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
    except GatedRepoError:
        raise LoadError(
            f"{FLAG}: the hub gives {model!r} to those alone who have accepted its "
            "terms: accept them on the model's page, and put that account's token "
            "into HF_TOKEN (of a Workspace: the Secret of modelAccessSecret)"
        ) from None
    except RevisionNotFoundError:
        raise LoadError(
            f"--revision: found {revision!r}, which {model!r} has not on the hub"
        ) from None
    except RepositoryNotFoundError:
        raise LoadError(
            f"{FLAG}: the hub has no model {model!r}, or hides it from those without "
            "a token (HF_TOKEN)"
        ) from None
    except Exception as error:  # also what its transport raises
        found = f"{type(error).__name__}: {error}"
        if not cache_folder(model).exists():
            raise LoadError(
                f"{FLAG}: the hub does not answer ({found}), and {model!r} was not "
                "fetched before"
            ) from error
        log.warning("the hub does not answer", extra={"error": found})
        return HubAnswer(silent=True)
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    return HubAnswer(weights=weights_bytes(sizes) or None)


def weights_bytes(sizes: Mapping[str, int]) -> int:
    """Return the bytes of the files that transformers chooses among a model's."""
    chosen = [name for name in sizes if Path(name).match("model*.safetensors")]
    if not chosen:
        chosen = [name for name in sizes if Path(name).match("pytorch_model*.bin")]
    return sum(sizes[name] for name in chosen if "/" not in name)


def cache_folder(model: str) -> Path:
    """Return where the cache keeps a model's files."""
    name = repo_folder_name(repo_id=model, repo_type="model")
    return Path(constants.HF_HUB_CACHE, name, "blobs")
