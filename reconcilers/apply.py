"""Applying children, each change once, without taking a person's fields.

Children are server-side-applied in full and never by force. Where someone else
owns a field, say after a ``kubectl edit``, the field is left to them, the rest
is applied, and the caller is told, so that it can say so.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from pykaito.operator.client import Client
from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    ApplyConflictError,
    ConflictError,
    FieldConflict,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, key, labels, name, owner_of
from pykaito.reconcilers.alternatives import replaced
from pykaito.reconcilers.field_path import without_fields
from pykaito.reconcilers.quota import QUOTA_EXCEEDED, explain_quota
from pykaito.reconcilers.writes import Note

#: Conflicts are reported all at once, so a second round is already unusual.
MAX_ROUNDS = 4

#: Fields that decide what there may be beside them, and what is left with each: the
#: API server refuses the limits of a rolling update beside another type of strategy.
_LEFT_WITH = {".spec.strategy.type": ".spec.strategy"}

log = structlog.get_logger()


class NameTakenError(AlreadyExistsError):
    """A child's name is taken by an object that is not the Workspace's."""


#: What retries alone will not mend: it has to reach whoever can.
REFUSALS = (NameTakenError, InvalidError, ForbiddenError)

NAME_TAKEN = "NameTaken"
APPLY_REFUSED = "ApplyRefused"

#: Reasons of refusals that last until a person acts. A quota may have room again
#: when something else goes.
HOPELESS = frozenset({NAME_TAKEN, APPLY_REFUSED})


def refusal(error: ApiError, namespace: str) -> tuple[str, str]:
    """Return the reason and the message of a condition for one of REFUSALS."""
    if isinstance(error, NameTakenError):
        return NAME_TAKEN, error.message
    if exceeded := explain_quota(error.message, namespace):
        return QUOTA_EXCEEDED, exceeded
    return APPLY_REFUSED, f"the API server refused it: {error.message}"


@dataclass(frozen=True, slots=True)
class Applied:
    """A child as the API server has it, and the fields left to others."""

    obj: Object
    left_to_others: tuple[FieldConflict, ...] = ()
    #: Whether more or other fields are left than the last time.
    newly_left: bool = False
    #: Whether it was not there before.
    created: bool = False


@dataclass(frozen=True, slots=True)
class _Memo:
    digest: bytes
    version: bytes
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
        informer.add_handler(self, replay=False)

    def __len__(self) -> int:
        """Return of how many objects it remembers what was applied."""
        return len(self._memos)

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        """Forget an object that is gone; the informer calls this."""
        del initial
        if new is None and old is not None:
            self._memos.pop(key(old), None)

    async def apply(self, wanted: Mapping[str, Any], note: Note) -> Applied:
        """Apply the object unless the cache shows no need to.

        Raises:
            NameTakenError: an object of that name belongs to someone else.
            ConflictError: one of an earlier Workspace's is still there.
            ApiError: the API server refused the object for another reason than
                a field that someone else owns.
        """
        memo_key = key(wanted)
        live = self._informer.store.get(memo_key)
        digest = _digest(wanted)
        memo = self._memos.get(memo_key)
        if (
            memo is not None
            and live is not None
            and memo.digest == digest
            and memo.version == version(live)
        ):
            return Applied(live, memo.left_to_others)
        found = live if live is not None else await self._find(memo_key)
        if found is not None:
            _check_owner(found, wanted)
        obj, left = await self._apply_what_is_ours(wanted)
        note(self._informer, obj)
        self._memos[memo_key] = _Memo(digest, version(obj), left)
        return Applied(
            obj,
            left,
            newly_left=bool(left) and (memo is None or memo.left_to_others != left),
            created=found is None,
        )

    async def _find(self, child: Key) -> Object | None:
        """Look for an object that the cache lacks, say because its label does.

        An apply would change it, and make it go with the Workspace.
        """
        try:
            return await self._client.get(
                self._informer.resource, child.name, child.namespace
            )
        except NotFoundError:
            return None

    async def _apply_what_is_ours(
        self, wanted: Mapping[str, Any]
    ) -> tuple[Object, tuple[FieldConflict, ...]]:
        """Apply what nobody else owns, and nobody has put another in place of."""
        try:
            return await self._apply_uncontested(wanted)
        except InvalidError:
            found = await self._find(key(wanted))
            others = replaced(wanted, found or {"metadata": {}}, self._field_manager)
            if not others:
                raise
        _log_left(others)
        obj, left = await self._apply_uncontested(
            without_fields(wanted, (c.field for c in others))
        )
        return obj, (*others, *left)

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
                theirs = (c.field for c in error.conflicts)
                wanted = without_fields(
                    wanted, (_LEFT_WITH.get(field, field) for field in theirs)
                )
                left += error.conflicts
                _log_left(error.conflicts)
            else:
                return obj, left
        raise RuntimeError(
            f"{self._informer.resource.kind} {name(wanted)}: fields changed hands "
            f"{MAX_ROUNDS} times while it was applied"
        )


def _log_left(conflicts: Sequence[FieldConflict]) -> None:
    log.info(
        "left fields to their owners",
        fields=[c.field for c in conflicts],
        managers=sorted({c.manager for c in conflicts}),
    )


def _check_owner(found: Object, wanted: Object) -> None:
    """Check that an object is the Workspace's, or was before someone edited it.

    Raises:
        ConflictError: it was of an earlier Workspace of that name, and is about
            to be collected.
        NameTakenError: it is someone else's.
    """
    owner, ours = owner_of(found), owner_of(wanted) or {}
    what = f"{wanted['kind']} {name(wanted)}"
    if owner is None:
        if labels(wanted).items() <= labels(found).items():
            return
        whose = ""
    elif owner["uid"] == ours.get("uid"):
        return
    elif (owner["kind"], owner["name"]) == (ours.get("kind"), ours.get("name")):
        raise ConflictError(f"{what} of the earlier {owner['kind']} is there still")
    else:
        whose = f" of {owner['kind']} {owner['name']}"
    raise NameTakenError(
        f"there is another {what}{whose}; delete it, or give the Workspace another "
        "name",
        status=409,
    )


def version(obj: Object) -> bytes:
    """Return what changes when someone changes what the object asks for.

    The generation leaves status updates out, and metadata too, of which the
    applied part is added here. Kinds without a generation, such as Service,
    change rarely: there the resourceVersion serves.
    """
    metadata = obj["metadata"]
    return _digest(
        [
            metadata["uid"],
            metadata.get("generation") or metadata["resourceVersion"],
            labels(obj),
            metadata.get("ownerReferences"),
            metadata.get("finalizers"),
        ]
    )


def _digest(value: Any) -> bytes:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()
