"""What was asked of Karpenter and not given back, each as it was seen last.

Karpenter may delete a NodeClaim a moment after it said why it fails. By the time that
the Machine is reconciled the cache has forgotten it; this has not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from pykaito.operator.objects import Object, uid
from pykaito.provisioners.errors import ProvisionError
from pykaito.provisioners.karpenter.objects import instance_of


@dataclass(slots=True)
class Entry:
    """One object that is wanted."""

    obj: Object
    #: When it was first missed, on the monotonic clock.
    missed: float | None = None
    #: Why it went, once that is known.
    failure: ProvisionError | None = None


@final
class Wanted:
    """Objects by the name of their instance; an informer's handler.

    Args:
        is_wanted: whether a Machine still has use for an instance of that name. What
            nobody has is forgotten when it goes.
    """

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self._entries: dict[str, Entry] = {}
        self._is_wanted = is_wanted

    def get(self, instance: str) -> Entry | None:
        """Return what is wanted, None where nothing is."""
        return self._entries.get(instance)

    def put(self, obj: Object) -> None:
        """Take an object that was made."""
        self._entries[instance_of(obj)] = Entry(obj)

    def forget(self, instance: str) -> None:
        """Stop wanting it: it is given back."""
        self._entries.pop(instance, None)

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        """Take a change; see `EventHandler`."""
        del initial
        obj = new or old
        if obj is None:
            return
        instance = instance_of(obj)
        known = self._entries.get(instance)
        if known is not None and uid(known.obj) == uid(obj):
            known.obj = obj
        elif old is None:
            # Asked for by this process before it started.
            self.put(obj)
        if new is None and not self._is_wanted(instance):
            self.forget(instance)
