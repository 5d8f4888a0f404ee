"""Applying children, each change once, without taking a person's fields.

Children are server-side-applied in full and never by force. Where someone else
owns a field, say after a ``kubectl edit``, the field is left to them, the rest
is applied, and the caller is told, so that it can say so.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from pykaito.operator.client import Client
from pykaito.operator.errors import ApplyConflictError, FieldConflict
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key, name
from pykaito.reconcilers.field_path import without_field
from pykaito.reconcilers.writes import Note

#: Conflicts are reported all at once, so a second round is already unusual.
MAX_ROUNDS = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Applied:
    """A child as the API server has it, and the fields left to others."""

    obj: Object
    left_to_others: tuple[FieldConflict, ...] = ()
    #: Whether more or other fields are left than the last time.
    newly_left: bool = False


@dataclass(frozen=True, slots=True)
class _Memo:
    digest: bytes
    uid: str
    version: str
    left_to_others: tuple[FieldConflict, ...]


class Applier:
    """Applies objects under one field manager and remembers what it applied.

    An object that is wanted as before, and that nobody changed since, costs no
    request. That memory is an optimisation: losing it costs one apply.
    """

    def __init__(self, client: Client, field_manager: str, informer: Informer) -> None:
        self._client = client
        self._field_manager = field_manager
        self._informer = informer
        self._memos: dict[Key, _Memo] = {}

    async def apply(self, wanted: Mapping[str, Any], note: Note) -> Applied:
        """Apply the object unless the cache shows no need to.

        Raises:
            ApiError: the API server refused the object for another reason than
                a field that someone else owns.
        """
        memo_key = key(wanted)
        live = self._informer.store.get(memo_key)
        digest = hashlib.sha256(
            orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)
        ).digest()
        memo = self._memos.get(memo_key)
        if (
            memo is not None
            and live is not None
            and memo.digest == digest
            and (memo.uid, memo.version) == (live["metadata"]["uid"], version(live))
        ):
            return Applied(live, memo.left_to_others)
        obj, left = await self._apply_uncontested(wanted)
        note(self._informer, obj)
        uid = obj["metadata"]["uid"]
        self._memos[memo_key] = _Memo(digest, uid, version(obj), left)
        return Applied(
            obj,
            left,
            newly_left=bool(left) and (memo is None or memo.left_to_others != left),
        )

    def forget(self, child: Key) -> None:
        """Drop what is remembered of a child that is gone."""
        self._memos.pop(child, None)

    async def _apply_uncontested(
        self, wanted: Mapping[str, Any]
    ) -> tuple[Object, tuple[FieldConflict, ...]]:
        left: tuple[FieldConflict, ...] = ()
        for _ in range(MAX_ROUNDS):
            try:
                obj = await self._client.apply(
                    self._informer.resource,
                    wanted,
                    field_manager=self._field_manager,
                )
            except ApplyConflictError as error:
                for conflict in error.conflicts:
                    wanted = without_field(wanted, conflict.field)
                left += error.conflicts
                log.info(
                    "left fields to their owners",
                    fields=[c.field for c in error.conflicts],
                    managers=sorted({c.manager for c in error.conflicts}),
                )
            else:
                return obj, left
        raise RuntimeError(
            f"{self._informer.resource.kind} {name(wanted)}: fields changed hands "
            f"{MAX_ROUNDS} times while it was applied"
        )


def version(obj: Object) -> str:
    """Return what changes when someone changes what the object asks for.

    The generation leaves status updates out. Kinds without one, such as
    Service, change rarely: there the resourceVersion serves.
    """
    metadata = obj["metadata"]
    return str(metadata.get("generation") or metadata["resourceVersion"])
