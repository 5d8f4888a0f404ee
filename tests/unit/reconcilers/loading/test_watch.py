"""Pods are asked while they load, at bearable intervals, and only news is told."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from pykaito.operator.frozen import freeze, thaw
from pykaito.operator.objects import Key
from pykaito.operator.store import Store
from pykaito.reconcilers.inference.loading import Report, Stage
from pykaito.reconcilers.inference.loading.watch import (
    AT_ONCE,
    MISSES,
    PERIOD,
    Ask,
    LoadWatch,
)
from tests.unit.operator.virtual_time import VirtualClock
from tests.unit.reconcilers.kubelet import NAME, pod, running
from tests.unit.reconcilers.workspaces import raw_workspace

pytestmark = pytest.mark.virtual_time

WORKSPACE = Key("default", NAME)
HOUR = 3600.0


def loading(share: float | None, stage: str = "loading the weights") -> bytes:
    return json.dumps({"stage": stage, "progress": share}).encode()


class Pods:
    """Pods of one Workspace, and what each answers."""

    def __init__(self) -> None:
        self.cached, self.workspaces = Store(), Store()
        self.workspaces.put(freeze(raw_workspace()))
        #: By the number of a pod; those without one do not answer.
        self.bodies: dict[int, bytes] = {}
        self.takes = 0.0
        self.asked: Counter[int] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self.news: list[Key] = []
        self.watch = LoadWatch(
            self.cached, self.workspaces, self._connect, VirtualClock()
        )
        self.watch.news.receive(self.news.append)

    def put(self, number: int = 1, **container: Any) -> None:
        """Have a pod in the cluster; it loads unless its container is otherwise."""
        made = pod(running(**{"started": False} | container), podIP=f"10.0.0.{number}")
        made["metadata"] |= {
            "name": f"pod-{number}",
            "uid": str(number),
            "labels": {"kaito.sh/workspace": NAME},
        }
        self.cached.put(freeze(made))

    def told(self, number: int = 1) -> Report | None:
        """Return what the reconciler is told of a pod."""
        found = self.cached.get(Key("default", f"pod-{number}"))
        return self.watch.told(found) if found else None

    @contextlib.asynccontextmanager
    async def asked_for(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """Have them asked for so long, and then some more while the block runs."""
        task = asyncio.create_task(self.watch.run())
        try:
            await asyncio.sleep(seconds + 0.001)
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[Ask]:
        yield self._answer

    async def _answer(self, url: str) -> bytes | None:
        number = int(url.removeprefix("http://10.0.0.").removesuffix(":5000/health"))
        self.asked[number] += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.takes)
        self._at_once -= 1
        return self.bodies.get(number)


async def test_nothing_is_asked_where_nothing_loads() -> None:
    pods = Pods()
    pods.put(started=True)
    async with pods.asked_for(HOUR):
        assert not pods.asked


async def test_one_that_loads_is_asked_once_each_period_until_it_has_loaded() -> None:
    pods = Pods()
    pods.put()
    pods.bodies[1] = loading(0.5)
    async with pods.asked_for(10 * PERIOD):
        assert pods.asked[1] == 11
        pods.put(started=True, ready=True)
        await asyncio.sleep(HOUR)
    assert pods.asked[1] == 11


async def test_so_many_are_asked_at_once_and_no_more() -> None:
    pods = Pods()
    pods.takes = 2.0
    for number in range(1, 3 * AT_ONCE + 1):
        pods.put(number)
        pods.bodies[number] = loading(0.5)
    async with pods.asked_for(6.0):
        assert set(pods.asked.values()) == {1}
        assert len(pods.asked) == 3 * AT_ONCE
    assert pods.most_at_once == AT_ONCE


async def test_only_what_is_news_is_told() -> None:
    pods = Pods()
    pods.put()
    async with pods.asked_for():
        for percent in range(101):
            pods.bodies[1] = loading(percent / 100)
            await asyncio.sleep(PERIOD)
    assert pods.news == [WORKSPACE] * 21
    assert pods.told() == Report(Stage.LOADING, 1)


async def test_in_between_the_same_is_told_and_the_metric_moves() -> None:
    pods = Pods()
    pods.put()
    pods.bodies[1] = loading(0.5)
    async with pods.asked_for():
        pods.bodies[1] = loading(0.52)
        await asyncio.sleep(PERIOD)
        assert pods.told() == Report(Stage.LOADING, 0.5)
        assert [*pods.watch.reports()] == [(WORKSPACE, Report(Stage.LOADING, 0.52))]


async def test_one_that_stops_answering_is_given_time_before_its_report_goes() -> None:
    pods = Pods()
    pods.put()
    pods.bodies[1] = loading(0.5)
    async with pods.asked_for():
        del pods.bodies[1]
        await asyncio.sleep((MISSES - 1) * PERIOD)
        assert pods.told() == Report(Stage.LOADING, 0.5)
        await asyncio.sleep(PERIOD)
        assert pods.told() is None
        assert [*pods.watch.reports()] == []
    assert pods.news == [WORKSPACE] * 2


async def test_one_that_answers_something_else_says_nothing_at_once() -> None:
    pods = Pods()
    pods.put()
    pods.bodies[1] = loading(0.5)
    async with pods.asked_for():
        pods.bodies[1] = b""
        await asyncio.sleep(PERIOD)
        assert pods.told() is None


async def test_one_that_has_loaded_or_gone_is_forgotten() -> None:
    pods = Pods()
    for number in (1, 2):
        pods.put(number)
        pods.bodies[number] = loading(0.5)
    async with pods.asked_for():
        assert len([*pods.watch.reports()]) == 2
        pods.put(1, started=True)
        pods.cached.discard(Key("default", "pod-2"))
        await asyncio.sleep(PERIOD)
        assert pods.told() is None
        assert [*pods.watch.reports()] == []


async def test_one_whose_workspace_is_gone_is_forgotten() -> None:
    pods = Pods()
    pods.put()
    pods.bodies[1] = loading(0.5)
    async with pods.asked_for():
        pods.workspaces.discard(WORKSPACE)
        await asyncio.sleep(PERIOD)
    assert [*pods.watch.reports()] == []


async def test_those_of_other_operators_objects_are_not_asked() -> None:
    pods = Pods()
    pods.put()
    unlabelled = thaw(pods.cached.list()[0])
    unlabelled["metadata"] |= {"labels": {}, "name": "other"}
    pods.cached.discard(Key("default", "pod-1"))
    pods.cached.put(freeze(unlabelled))
    async with pods.asked_for(HOUR):
        assert not pods.asked


async def test_a_failure_of_one_question_keeps_no_other_from_being_asked() -> None:
    pods = Pods()
    pods.put(1)
    pods.put(2)
    pods.bodies[2] = loading(0.5)

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ask]:
        async def ask(url: str) -> bytes | None:
            if url == "http://10.0.0.1:5000/health":
                raise RuntimeError("a bug")
            return pods.bodies[2]

        yield ask

    watch = LoadWatch(pods.cached, pods.workspaces, connect, VirtualClock())
    task = asyncio.create_task(watch.run())
    with structlog.testing.capture_logs() as logs:
        await asyncio.sleep(2.5 * PERIOD)
    task.cancel()
    assert [*watch.reports()] == [(WORKSPACE, Report(Stage.LOADING, 0.5))]
    assert [entry["event"] for entry in logs] == ["asking a pod failed"] * 3
