"""Which LoRA adapters a server is to merge, as its pod's environment says.

``KAITO_ADAPTERS`` is a JSON list in the Workspace's order, as in
``[{"name": "legal", "strength": "0.5"}]``; each adapter's files lie in the
folder of its name below ``--adapters_dir``.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykaito.runtime.hf.errors import shown
from pykaito.runtime.hf.flags import FlagError

ADAPTERS_VARIABLE = "KAITO_ADAPTERS"

#: What Kubernetes calls a DNS-1123 subdomain; no name leads out of a folder.
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that is asked for.

    ``strength`` is what its delta is multiplied by: 0 is the base model, 1 the
    model as it was trained.
    """

    name: str
    strength: float
    folder: Path


def parse_adapters(
    text: str | None, folder: Path, *, where: str = ADAPTERS_VARIABLE
) -> tuple[Adapter, ...]:
    """Read the variable's value; none or an empty one asks for no adapter.

    Args:
        text: the value.
        folder: holds a folder per adapter.
        where: the text is from, for messages.

    Raises:
        FlagError: if it is malformed or names an adapter twice.
    """
    if not text or not text.strip():
        return ()
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise FlagError(f"{where}: is no JSON ({error})") from None
    if not isinstance(listed, list):
        raise FlagError(f"{where}: found {shown(listed)}, must be a list of objects")
    adapters = [
        _parse_one(item, f"{where}[{index}]", folder)
        for index, item in enumerate(listed)
    ]
    names = [adapter.name for adapter in adapters]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise FlagError(f"{where}[{index}].name: found {name!r} a second time")
    return tuple(adapters)


def _parse_one(item: Any, where: str, folder: Path) -> Adapter:
    if not isinstance(item, dict):
        raise FlagError(
            f"{where}: found {shown(item)}, must be an object with name and strength"
        )
    name = item.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name:
        raise FlagError(
            f"{where}.name: found {shown(name)}, must be lower-case letters, digits, "
            "single '.' and '-'"
        )
    strength = _number(item.get("strength", "1"))
    if strength is None or not 0 <= strength <= 1:
        raise FlagError(
            f"{where}.strength: found {shown(item['strength'])}, must be a number "
            "from 0 to 1"
        )
    return Adapter(name, strength, folder / name)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
