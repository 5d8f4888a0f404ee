"""``pykaito models``: the catalogue that this release was built with."""

import sys
from collections.abc import Sequence
from typing import Any

from pykaito.commands.columns import columns
from pykaito.commands.failure import fail
from pykaito.commands.formats import Listing, Structured, dump
from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    catalogue,
    find_preset,
)
from pykaito.runtime.presets.sizing import usual_gpus

HEADER = ("NAME", "LICENCE", "GPUS", "WEIGHTS", "CONTEXT", "ACCESS")


def show(name: str | None, form: Listing) -> None:
    """Print the whole catalogue, or one model of it."""
    try:
        presets = [find_preset(name)] if name else list(catalogue().values())
    except UnknownPresetError as error:
        fail(f"{error}; pykaito models lists them all")
    sys.stdout.write(render(presets, form, one=name is not None))


def render(presets: Sequence[Preset], form: Listing, *, one: bool = False) -> str:
    """Return the models as text; JSON and YAML hold a list unless ``one``."""
    if form is Listing.TABLE:
        return columns(HEADER, [row(preset) for preset in presets])
    if form is Listing.NAME:
        return "".join(f"{preset.name}\n" for preset in presets)
    values = [facts(preset) for preset in presets]
    return dump(values[0] if one else values, Structured(form))


def row(preset: Preset) -> tuple[str, ...]:
    """Return a model's line of the table."""
    return (
        preset.name,
        preset.licence,
        str(usual_gpus(preset)),
        f"{preset.weights_gib}Gi",
        tokens(preset.context_length),
        access(preset),
    )


def facts(preset: Preset) -> dict[str, Any]:
    """Return all that the catalogue says of a model, under its field names."""
    return preset.model_dump(by_alias=True) | {"access": access(preset)}


def access(preset: Preset) -> str:
    """Return the ``accessMode`` that a Workspace of this model needs."""
    return "private" if preset.private_only else "public"


def tokens(count: int) -> str:
    """Return a number of tokens as people write it: 2048 is 2k."""
    return str(count) if count % 1024 else f"{count // 1024}k"
