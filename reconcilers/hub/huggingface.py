"""What a hub tells of a model, over the HTTP interface of huggingface.co.

No token is sent: users' tokens are theirs, and the operator has none of its own.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import httpx

from pykaito.reconcilers.hub import errors
from pykaito.reconcilers.hub.web import Answer, WebError, get, quoted
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.hub_config import (
    ConfigError,
    Origin,
    preset_of,
    read_json,
)
from pykaito.runtime.presets.hub_files import find_weights, has_mistral_format

#: Bytes of a listing, and of a config.json, at most.
LISTING_LIMIT = 8 << 20
CONFIG_LIMIT = 2 << 20

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
#: More than any file has; a number above it is a mistake.
_MOST = 2**50
_DENIED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


async def fetch(
    client: httpx.AsyncClient, endpoint: str, name: str, revision: str
) -> Preset:
    """Return what the hub tells of a model.

    Args:
        client: for this lookup.
        endpoint: the hub's address, without a slash at its end.
        name: the repository, as org/name.
        revision: the commit to ask for; empty for the newest.

    Raises:
        PlanError: it tells nothing, or nothing usable, and why.
        WebError: it gives no usable answer.
    """
    at = f"/revision/{revision}" if revision else ""
    url = f"{endpoint}/api/models/{name}{at}?blobs=true"
    told = _body(await get(client, url, limit=LISTING_LIMIT), name, endpoint)
    commit = _text(told.get("sha"), _COMMIT) or revision
    sizes = _sizes(told.get("siblings"))
    repository = _text(told.get("id"), _NAME) or name
    weights = find_weights(sizes)
    if weights is None or not weights.size:
        raise errors.invalid(
            name,
            f"on {endpoint}",
            f"no weights beside it, among {len(sizes)} files whose size is told; they "
            "must be safetensors or pytorch_model.bin",
        )
    file = "config.json" if "config.json" in sizes else "params.json"
    url = f"{endpoint}/{repository}/resolve/{commit or 'main'}/{file}"
    config = _body(await get(client, url, limit=CONFIG_LIMIT), name, endpoint, file)
    origin = Origin(
        name=repository,
        hub=repository,
        revision=commit,
        licence=_licence(told),
        gated=bool(told.get("gated")),
        mistral_format=has_mistral_format(sizes),
    )
    try:
        return preset_of(config, weights, origin)
    except ConfigError as error:
        raise errors.invalid(name, f"on {endpoint}", str(error)) from None


def _body(
    answer: Answer, name: str, endpoint: str, file: str = ""
) -> Mapping[str, Any]:
    if not answer.ok:
        _refuse(answer, name, endpoint, file)
    try:
        return read_json(answer.body)
    except ConfigError as error:
        kind = quoted(answer.headers.get("content-type", "no content type"))
        raise WebError(f"{kind} where JSON was expected: {error}") from None


def _refuse(answer: Answer, name: str, endpoint: str, file: str) -> NoReturn:
    code = answer.headers.get("x-error-code", "")
    missing = answer.status == httpx.codes.NOT_FOUND
    if file and missing:
        raise errors.invalid(name, f"on {endpoint}", f"found no {file}")
    # A hub that will not say whether a model exists denies instead.
    if missing or code in {"RepoNotFound", "RevisionNotFound"}:
        raise errors.not_found(name, endpoint)
    if answer.status in _DENIED:
        raise errors.gated(name, endpoint)
    if answer.status == httpx.codes.TOO_MANY_REQUESTS:
        wait = answer.headers.get("retry-after", "")
        seconds = int(wait) if wait.isascii() and wait.isdigit() else 0
        asked = f", asking to wait {seconds} s" if seconds else ""
        cause = f"it answered 429, too many requests{asked}"
        raise errors.hub_unreachable(name, endpoint, cause, retry_after=seconds)
    raise WebError(f"it answered {answer.status}")


def _sizes(siblings: object) -> dict[str, int]:
    """Return the bytes of each file that the hub tells them of."""
    listed = siblings if isinstance(siblings, Sequence) else ()
    return {
        str(file["rfilename"]): file["size"]
        for file in listed
        if isinstance(file, Mapping)
        and "rfilename" in file
        and isinstance(file.get("size"), int)
        and 0 <= file["size"] <= _MOST
    }


def _licence(told: Mapping[str, Any]) -> str:
    card = told.get("cardData")
    if isinstance(card, Mapping):
        named = card.get("license_name") or card.get("license")
        if isinstance(named, str) and named:
            return quoted(named)
    tags = told.get("tags")
    for tag in tags if isinstance(tags, Sequence) else ():
        if isinstance(tag, str) and tag.startswith("license:"):
            return quoted(tag.removeprefix("license:"))
    return "unknown"


def _text(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
