"""The work queue against a model of what it promises, in any order of calls."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from pykaito.operator.workqueue import Priority, ShutDown, WorkQueue
from tests.unit.operator.soak import examples
from tests.unit.operator.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual

ITEMS = st.sampled_from("abcd")
PRIORITIES = st.sampled_from(Priority)
DELAYS = st.sampled_from([0.0, 0.5, 1.0, 5.0, 60.0])
LOW_TURN = 16


@dataclass
class Owed:
    """A turn that an item was promised."""

    due: float
    priority: Priority


class QueueMachine(RuleBasedStateMachine):
    """Keeps for each item the turn it is owed; the queue must hand out just those."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.queue = WorkQueue[str](VirtualClock())
        self.owed: dict[str, Owed] = {}
        self.processing: dict[str, Priority] = {}
        self.failures: Counter[str] = Counter()
        self.normal_turns = 0

    def teardown(self) -> None:
        # Whatever happened before, every promised turn is given in the end.
        for item in list(self.processing):
            self.finish(item)
        self.wait(2000.0)
        while self.available():
            self.take()
            for item in list(self.processing):
                self.finish(item)
        assert not self.owed
        self.loop.close()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async def inside() -> Any:
            return function(*args, **kwargs)

        return self.loop.run_until_complete(inside())

    def promise(self, item: str, delay: float, priority: Priority | None) -> None:
        if priority is None:
            priority = self.processing.get(item, Priority.NORMAL)
        due = self.loop.time() + delay
        owed = self.owed.get(item)
        if owed is not None:
            due, priority = min(due, owed.due), max(priority, owed.priority)
        self.owed[item] = Owed(due, priority)

    def available(self) -> dict[str, Owed]:
        now = self.loop.time() + 1e-6
        return {
            item: owed
            for item, owed in self.owed.items()
            if owed.due <= now and item not in self.processing
        }

    @rule(item=ITEMS, priority=PRIORITIES)
    def add(self, item: str, priority: Priority) -> None:
        self.promise(item, 0.0, priority)
        self.call(self.queue.add, item, priority=priority)

    @rule(item=ITEMS, delay=DELAYS, priority=st.none() | PRIORITIES)
    def add_after(self, item: str, delay: float, priority: Priority | None) -> None:
        self.promise(item, delay, priority)
        self.call(self.queue.add_after, item, delay, priority=priority)

    @rule(item=ITEMS)
    def fail(self, item: str) -> None:
        self.promise(item, min(1000.0, 0.005 * 2 ** self.failures[item]), None)
        self.failures[item] += 1
        self.call(self.queue.add_rate_limited, item)

    @rule(item=ITEMS)
    def forget(self, item: str) -> None:
        del self.failures[item]
        self.call(self.queue.forget, item)

    @precondition(lambda self: self.available())
    @rule()
    def take(self) -> None:
        available = self.available()
        item = self.loop.run_until_complete(self.queue.get())
        assert item not in self.processing
        assert item in available
        priority = available[item].priority
        waiting = {owed.priority for owed in available.values()}
        if priority is Priority.LOW:
            assert Priority.NORMAL not in waiting or self.normal_turns >= LOW_TURN - 1
            self.normal_turns = 0
        else:
            self.normal_turns += 1
        del self.owed[item]
        self.processing[item] = priority

    @precondition(lambda self: self.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        self.finish(data.draw(st.sampled_from(sorted(self.processing))))

    def finish(self, item: str) -> None:
        del self.processing[item]
        self.call(self.queue.done, item)

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.5, 1.0, 10.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @invariant()
    def exactly_what_is_owed_can_be_had(self) -> None:
        assert len(self.queue) == len(self.available())

    @invariant()
    def failures_are_remembered(self) -> None:
        for item in "abcd":
            assert self.queue.num_requeues(item) == self.failures[item]


QueueMachine.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None
)
TestQueueMachine = QueueMachine.TestCase


Production = list[tuple[str, Priority, float, bool]]
PRODUCTION = st.lists(
    st.tuples(ITEMS, PRIORITIES, st.floats(0, 3), st.booleans()), max_size=40
)
WORK = st.lists(st.floats(0, 2), min_size=1, max_size=10)


@settings(max_examples=examples(50), deadline=None)
@given(production=PRODUCTION, work=WORK, workers=st.integers(1, 4))
def test_concurrent_workers_never_share_an_item_and_see_every_add(
    production: Production, work: list[float], workers: int
) -> None:
    """Workers come and go by cancellation; each add is followed by a full turn."""
    run_virtual(_produce_and_work(production, work, workers))


async def _produce_and_work(
    production: Production, work: list[float], workers: int
) -> None:
    loop = asyncio.get_running_loop()
    queue = WorkQueue[str](VirtualClock())
    running: set[str] = set()
    last_begun: dict[str, float] = {}
    last_added: dict[str, float] = {}
    turns = iter(range(10**6))

    async def worker() -> None:
        while True:
            try:
                item = await queue.get()
            except ShutDown:
                return
            assert item not in running
            running.add(item)
            last_begun[item] = loop.time()
            try:
                await asyncio.sleep(work[next(turns) % len(work)])
            except asyncio.CancelledError:
                queue.add(item)  # what was cut off is to be done again
                raise
            finally:
                running.discard(item)
                queue.done(item)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    for item, priority, pause, kill in production:
        await asyncio.sleep(pause)
        if kill:
            victim = tasks.pop(0)
            victim.cancel()
            tasks.append(asyncio.create_task(worker()))
        queue.add(item, priority=priority)
        last_added[item] = loop.time()
    await asyncio.sleep(200)
    assert not running
    assert len(queue) == 0
    for item, added in last_added.items():
        assert last_begun[item] >= added
    assert await queue.drain(1)
    await asyncio.gather(*tasks)
