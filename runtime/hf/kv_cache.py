"""Keys and values of the sequences in a batch, in memory that never grows.

Each layer has one tensor for keys and one for values, with a slot per token.
Slots are handed out in rows, a row per sequence. The width of a short one is a
power of two: at most half of it is unused, and rows of one width lie side by side
in slabs, so that one call attends for all rows of a slab, without gathering
anything. A long one has a slab of its own, of whole units. A sequence that
outgrows its row has it extended where the next units are free, or moves to a
wider one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Tensor = Any  # torch publishes no types that strict mode can read

#: Slots of the narrowest row.
NARROWEST = 128
#: Slots of a slab; a row that is wider has a slab of its own, of several of them.
#: Plans count on it (pykaito.runtime.presets.memory).
UNIT = 4096


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer keeps for a token."""

    heads: int
    key_width: int
    value_width: int
    dtype: Any
    device: Any

    @property
    def bytes_per_token(self) -> int:
        """Memory that a slot takes in this layer."""
        size: int = self.dtype.itemsize
        return self.heads * (self.key_width + self.value_width) * size


@dataclass(eq=False, slots=True)
class Slab:
    """Rows of one width, side by side; the used ones come first."""

    #: Its first slot.
    start: int
    width: int
    rows: "list[Row]" = field(default_factory=list)

    @property
    def slots(self) -> int:
        """How many it has."""
        return max(UNIT, self.width)

    @property
    def full(self) -> bool:
        """Whether there is room for no more rows."""
        return len(self.rows) == self.slots // self.width


@dataclass(eq=False, slots=True)
class Row:
    """The slots of one sequence; they move when rows before them are freed."""

    slab: Slab
    index: int
    #: Slots that hold something.
    length: int = 0
    #: Whether it is kept for later and attended to by nobody.
    kept: bool = False

    @property
    def start(self) -> int:
        """Its first slot."""
        return self.slab.start + self.index * self.slab.width


def row_width(tokens: int) -> int:
    """Return the width of the row that so many tokens need."""
    if tokens > UNIT:
        return -(-tokens // UNIT) * UNIT
    return max(NARROWEST, 1 << (tokens - 1).bit_length())


def slots_needed(tokens: int) -> int:
    """Return the slots of a cache that holds a sequence of so many tokens."""
    return max(UNIT, row_width(tokens))


class KVCache:
    """The slots of all layers, and who has which.

    Args:
        layers: What each layer keeps, by its index.
        slots: How many there are; whole units of them are used.
    """

    def __init__(self, layers: Sequence[LayerShape], slots: int) -> None:
        self._units = slots // UNIT
        self.slots = self._units * UNIT
        self.keys = [self._tensor(layer, layer.key_width) for layer in layers]
        self.values = [self._tensor(layer, layer.value_width) for layer in layers]
        self._free = [True] * self._units
        #: Units whose memory holds numbers: others may hold NaN, which would
        #: come through a mask.
        self._clean = [False] * self._units
        self._slabs: dict[tuple[int, bool], list[Slab]] = {}

    def _tensor(self, layer: LayerShape, width: int) -> Tensor:
        shape = (self.slots, layer.heads, width)
        return torch.empty(shape, dtype=layer.dtype, device=layer.device)

    @property
    def usage(self) -> float:
        """The share of slots that sequences in the batch have, from 0 to 1."""
        taken = sum(
            slab.slots
            for (_, kept), slabs in tuple(self._slabs.items())
            if not kept
            for slab in tuple(slabs)
        )
        return taken / max(1, self.slots)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that fits, when it is alone."""
        return self.slots

    def take(self, tokens: int, *, kept: bool = False) -> Row | None:
        """Return a row for so many tokens, or None if there is no room."""
        slab = self._open_slab(row_width(tokens), kept=kept)
        if slab is None:
            return None
        row = Row(slab, len(slab.rows), kept=kept)
        slab.rows.append(row)
        return row

    def _open_slab(self, width: int, *, kept: bool) -> Slab | None:
        """Return a slab with room for a row, a wider one if there is no other."""
        slabs = self._slabs.setdefault((width, kept), [])
        if slabs and not slabs[-1].full:
            return slabs[-1]
        start = self._take_units(max(UNIT, width) // UNIT)
        if start is not None:
            slabs.append(Slab(start, width))
            return slabs[-1]
        wider = [
            found[-1]
            for (other, kind), found in self._slabs.items()
            if other > width and kind == kept and found and not found[-1].full
        ]
        return min(wider, key=lambda slab: slab.width, default=None)

    def release(self, row: Row) -> None:
        """Free a row; the last one of its width moves to its place."""
        slabs = self._slabs[row.slab.width, row.kept]
        last = slabs[-1].rows.pop()
        if not slabs[-1].rows:
            slab = slabs.pop()
            first = slab.start // UNIT
            for unit in range(first, first + slab.slots // UNIT):
                self._free[unit] = True
        if last is not row:
            self._copy(last.start, row.start, last.length)
            row.slab.rows[row.index] = last
            last.slab, last.index = row.slab, row.index

    def grow(self, row: Row, tokens: int) -> Row | None:
        """Return a row for so many tokens with the content of this one, freed."""
        if tokens <= row.slab.width or self._extend(row, row_width(tokens)):
            return row
        wider = self.take(tokens, kept=row.kept)
        if wider is not None:
            self.copy(row, wider, row.length)
            self.release(row)
        return wider

    def _extend(self, row: Row, width: int) -> bool:
        """Widen a row that fills its slab, if the units after it are free."""
        slab = row.slab
        if slab.width < UNIT:
            return False
        first = (slab.start + slab.width) // UNIT
        units = range(first, first + (width - slab.width) // UNIT)
        if not self._are_free(units):
            return False
        self._occupy(units)
        self._slabs[slab.width, row.kept].remove(slab)
        slab.width = width
        self._slabs.setdefault((width, row.kept), []).append(slab)
        return True

    def copy(self, source: Row, target: Row, tokens: int) -> None:
        """Make the first tokens of one row those of another."""
        self._copy(source.start, target.start, tokens)
        target.length = tokens

    def clear(self, row: Row) -> None:
        """Overwrite what may be no number, before others get the slots."""
        for tensor in (*self.keys, *self.values):
            tensor[row.start : row.start + row.slab.width].zero_()

    def _copy(self, source: int, target: int, tokens: int) -> None:
        for tensor in (*self.keys, *self.values):
            tensor[target : target + tokens] = tensor[source : source + tokens]

    def _take_units(self, count: int) -> int | None:
        """Return the first slot of units in sequence, or None."""
        for first in range(self._units - count + 1):
            units = range(first, first + count)
            if self._are_free(units):
                self._occupy(units)
                return first * UNIT
        return None

    def _are_free(self, units: range) -> bool:
        return units.stop <= self._units and all(self._free[unit] for unit in units)

    def _occupy(self, units: range) -> None:
        for unit in units:
            self._free[unit] = False
            self._wipe(unit)

    def _wipe(self, unit: int) -> None:
        if not self._clean[unit]:
            self._clean[unit] = True
            for tensor in (*self.keys, *self.values):
                tensor[unit * UNIT : (unit + 1) * UNIT].zero_()
