"""An informer against a server that does anything at any time.

Hypothesis plays writes, lost connections, compactions, errors and the passing of
time against each other. Whatever it thinks of: handlers hear a history that makes
sense at every step, and once the server is well the store equals the server.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from pykaito.operator.errors import (
    ApiError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    TransportError,
    error_from_status,
)
from pykaito.operator.informer import Informer
from pykaito.operator.objects import PODS, Key, Object, key, uid
from pykaito.operator.reflector import Selection
from tests.unit.operator.model_api import CHOSEN, ModelApi, expired
from tests.unit.operator.soak import examples
from tests.unit.operator.virtual_time import VirtualClock, VirtualTimeLoop, settle

NAMES = st.sampled_from(["a", "b", "c"])
ERRORS = st.sampled_from(
    [
        expired(),
        TransportError("connection refused"),
        ServerError("etcd is away", status=500),
        TooManyRequestsError("busy", status=429, retry_after=7.0),
        NotFoundError("404 page not found", status=404),
        error_from_status({"code": 504, "details": {"causes": [{}]}}),
    ]
)


class Mirror:
    """What somebody knows who has only the handler's calls."""

    def __init__(self) -> None:
        self.known: dict[Key, Object] = {}

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        assert isinstance(initial, bool)
        at = key(new or old or {})
        before = self.known.pop(at, None)
        if old is None:
            assert before is None, "added twice"
        else:
            assert before is not None, "changed or deleted without being known"
            assert uid(before) == uid(old), "another object"
            assert version(old) >= version(before), "a deletion with an older state"
        if old is not None and new is not None:
            assert before == old, "a change of a state that was never told"
            assert uid(old) == uid(new), "a replaced object told as changed"
            assert version(new) > version(old), "told twice, or out of order"
        if new is not None:
            self.known[at] = new


def version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


class InformerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.api = ModelApi()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.mirror = Mirror()
        self.failure: BaseException | None = None
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.informer = Informer(
            self.api,
            Selection(PODS, label_selector=CHOSEN),
            clock=VirtualClock(),
            rng=random.Random(7),  # noqa: S311 - spread, not secrecy
        )
        # A handler's error is logged, not raised: keep it for the invariant.
        self.informer.add_handler(self)
        self.task = asyncio.create_task(self.informer.run())

    def on_event(
        self, old: Object | None, new: Object | None, *, initial: bool
    ) -> None:
        try:
            self.mirror.on_event(old, new, initial=initial)
        except AssertionError as error:
            self.failure = self.failure or error

    @rule(name=NAMES, chosen=st.booleans())
    def create(self, name: str, chosen: bool) -> None:
        if Key("ns", name) not in self.api.objects:
            self.api.create(name, chosen=chosen)

    @precondition(lambda self: self.api.objects)
    @rule(data=st.data(), chosen=st.booleans())
    def update(self, data: st.DataObject, chosen: bool) -> None:
        self.api.update(self._some(data), chosen=chosen)

    @precondition(lambda self: self.api.objects)
    @rule(data=st.data(), again=st.booleans())
    def delete(self, data: st.DataObject, again: bool) -> None:
        name = self._some(data)
        self.api.delete(name)
        if again:
            self.api.create(name)

    def _some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.api.objects))).name

    @rule()
    def write_elsewhere_and_send_bookmarks(self) -> None:
        self.api.write_elsewhere()
        self.api.send_bookmarks()

    @rule()
    def compact(self) -> None:
        self.api.compact()

    @rule(data=st.data(), again=st.booleans())
    def lose_history(self, data: st.DataObject, again: bool) -> None:
        """Cut the watches, change something unseen, and forget that it changed."""
        self.api.cut_watches()
        if self.api.objects:
            name = self._some(data)
            self.api.delete(name)
            if again:
                self.api.create(name)
        self.api.compact()

    @rule(error=st.none() | ERRORS)
    def end_watches(self, error: ApiError | None) -> None:
        self.api.end_watches(error)

    @rule(errors=st.lists(ERRORS, min_size=1, max_size=4))
    def refuse(self, errors: list[ApiError]) -> None:
        self.api.refuse(*errors)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 20.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))
        self.runner.run(settle())

    @rule()
    def recover(self) -> None:
        """Once the server is well, the store equals it within two minutes."""
        self.api.heal()
        self.runner.run(asyncio.sleep(121))
        self.runner.run(settle())
        truth = self.api.chosen(CHOSEN)
        assert _plain(self.informer.store.list()) == _plain(truth.values())
        assert self.informer.has_synced
        assert self.api.watching == 1

    @invariant()
    def what_was_told_is_what_is_stored(self) -> None:
        if self.failure is not None:
            raise self.failure
        assert not self.task.done()
        stored = self.informer.store.list()
        assert _plain(self.mirror.known.values()) == _plain(stored)
        assert all(obj["chosen"] for obj in stored)

    def teardown(self) -> None:
        self.recover()
        self.what_was_told_is_what_is_stored()
        self.task.cancel()
        self.runner.run(asyncio.wait([self.task]))
        self.runner.close()


def _plain(objects: Any) -> dict[Key, Mapping[str, Any]]:
    return {key(obj): obj for obj in objects}


InformerMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None
)
TestInformer = InformerMachine.TestCase
