"""How the nodes of a Workspace are come by: prepared ones, and the rest made. Pure.

What is made has a number, its slot, of which the Machine's name is. A slot that is
wanted has one Machine, however often that is decided; a Machine that goes away leaves
its slot to the next only once all of it is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count as numbers

from pykaito.operator.objects import Object, name


@dataclass(frozen=True, slots=True)
class Allotment:
    """The nodes that are used, the slots that are kept, and those that are new."""

    prepared: tuple[str, ...]
    kept: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def slots(self) -> tuple[int, ...]:
        """All slots, in order."""
        return tuple(sorted((*self.kept, *self.new)))


def allot(
    count: int,
    *,
    held: Sequence[str],
    free: Sequence[str],
    made: Mapping[int, bool],
    leaving: Sequence[int] = (),
) -> Allotment:
    """Say where ``count`` nodes come from.

    Nodes that were prepared and are named or in use come first, since they cost no
    more. Then what was made: another node would have to load the model anew. Then other
    prepared ones, and the rest is made.

    Args:
        count: nodes that are wanted.
        held: prepared nodes that are named or in use, best first.
        free: other prepared nodes that could serve now, best first.
        made: slots that there are, and whether each is ready.
        leaving: slots that go away, and cannot be used before they have.
    """
    prepared = tuple(held[:count])
    ranked = sorted(made, key=lambda slot: (not made[slot], slot))
    kept = tuple(ranked[: count - len(prepared)])
    others = tuple(free[: count - len(prepared) - len(kept)])
    missing = count - len(prepared) - len(kept) - len(others)
    taken = {*made, *leaving}
    unused = (slot for slot in numbers() if slot not in taken)
    return Allotment(
        prepared=(*prepared, *others),
        kept=kept,
        new=tuple(next(unused) for _ in range(missing)),
    )


def slot_of(machine: Object, workspace: str) -> int | None:
    """Return the slot of a Machine that is made; None for one of a prepared node."""
    if machine["spec"].get("nodeName"):
        return None
    number = name(machine).removeprefix(f"{workspace}-")
    return int(number) if number.isascii() and number.isdigit() else None
