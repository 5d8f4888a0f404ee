"""The reflector on virtual time, against a model of the server."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from pykaito.operator.errors import (
    ApiError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    TransportError,
)
from pykaito.operator.objects import PODS, ObjectList, WatchEvent
from pykaito.operator.reflector import (
    Following,
    Listing,
    Reflector,
    Selection,
    after_failure,
)
from tests.unit.operator.model_api import ModelApi, expired
from tests.unit.operator.virtual_time import VirtualClock, settle

pytestmark = pytest.mark.virtual_time


class Journal:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def replace(self, listed: ObjectList) -> None:
        names = [item["metadata"]["name"] for item in listed.items]
        self.heard.append(("listed", *names))

    def apply(self, event: WatchEvent) -> None:
        self.heard.append((event.type, event.object["metadata"]["name"]))

    def failed(self, error: ApiError) -> None:
        self.heard.append(type(error))


class NoChance(random.Random):
    """Draws the middle of every range, so that delays can be told exactly."""

    def random(self) -> float:
        return 0.5

    def randint(self, a: int, b: int) -> int:
        return (a + b) // 2


class Setup:
    def __init__(self, rng: random.Random) -> None:
        self.api = ModelApi()
        self.journal = Journal()
        self.reflector = Reflector(
            self.api, Selection(PODS), self.journal, clock=VirtualClock(), rng=rng
        )
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the reflector and let it do what needs no time."""
        self.task = asyncio.create_task(self.reflector.run())
        await settle()


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup(NoChance())
    made.api.create("a")
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.wait([made.task])


async def test_a_list_is_followed_by_a_watch_from_its_version(setup: Setup) -> None:
    await setup.begin()
    setup.api.create("b")
    setup.api.delete("a")
    await settle()
    assert setup.journal.heard == [("listed", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert setup.api.verbs() == ["list", "watch 101"]
    assert setup.reflector.resource_version == "103"


@pytest.mark.parametrize("how", ["cut", "end"])
async def test_a_watch_goes_on_from_the_last_event_and_misses_nothing(
    setup: Setup, how: str
) -> None:
    await setup.begin()
    await asyncio.sleep(20)
    setup.api.create("b")
    await settle()
    setup.api.cut_watches() if how == "cut" else setup.api.end_watches()
    setup.api.create("c")
    await asyncio.sleep(2)
    assert setup.api.verbs() == ["list", "watch 101", "watch 102"]
    assert ("ADDED", "c") in setup.journal.heard


async def test_a_watch_that_the_server_ends_is_renewed_at_once(setup: Setup) -> None:
    await setup.begin()
    await asyncio.sleep(300)
    setup.api.end_watches()
    await settle()
    assert setup.api.calls[-1].at == setup.api.calls[0].at + 300
    assert setup.api.watching == 1


async def test_a_bookmark_moves_the_version_and_is_not_an_event(setup: Setup) -> None:
    await setup.begin()
    setup.api.write_elsewhere()
    setup.api.send_bookmarks()
    await settle()
    setup.api.compact()
    setup.api.end_watches()
    await asyncio.sleep(2)
    assert setup.journal.heard == [("listed", "a")]
    assert setup.api.verbs() == ["list", "watch 101", "watch 102"]


async def test_an_expired_version_is_answered_by_one_list_after_a_pause(
    setup: Setup,
) -> None:
    await setup.begin()
    setup.api.end_watches(expired())
    await settle()
    assert setup.reflector.state == Listing()
    await asyncio.sleep(1.19)
    assert setup.api.verbs() == ["list", "watch 101"]
    await asyncio.sleep(0.02)
    assert setup.api.verbs() == ["list", "watch 101", "list", "watch 101"]


async def test_history_lost_while_disconnected_is_made_up_by_a_list(
    setup: Setup,
) -> None:
    await setup.begin()
    setup.api.cut_watches()
    setup.api.create("b")
    setup.api.compact()
    await asyncio.sleep(10)
    assert setup.api.verbs() == ["list", "watch 101", "watch 101", "list", "watch 102"]
    assert setup.journal.heard[-1] == ("listed", "a", "b")


async def test_versions_that_expire_at_once_do_not_make_a_hot_loop(
    setup: Setup,
) -> None:
    await setup.begin()
    for _ in range(10):
        setup.api.end_watches(expired())
        await asyncio.sleep(0.5)
    assert len(setup.api.calls) < 10


async def test_a_watch_that_ends_as_soon_as_it_begins_does_not_make_a_hot_loop(
    setup: Setup,
) -> None:
    await setup.begin()
    for _ in range(10):
        setup.api.end_watches()
        await asyncio.sleep(0.5)
    assert setup.api.verbs()[:2] == ["list", "watch 101"]
    assert 2 < len(setup.api.calls) < 7


async def test_pauses_double_from_under_a_second_to_half_a_minute(
    setup: Setup,
) -> None:
    setup.api.refuse(*[TransportError("refused")] * 8)
    await setup.begin()
    await asyncio.sleep(300)
    times = [call.at for call in setup.api.calls]
    pauses = [round(b - a, 2) for a, b in itertools.pairwise(times)]
    # One half of each is added by chance.
    assert pauses == [1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 45.0, 45.0, 0.0]


async def test_the_first_list_does_not_end_a_row_of_failures(setup: Setup) -> None:
    refused = TransportError("refused")
    await setup.begin()
    setup.api.refuse(expired(), refused, refused)
    setup.api.end_watches(refused)
    await asyncio.sleep(1.3)
    await asyncio.sleep(2.5)
    await asyncio.sleep(4.9)
    assert setup.api.verbs() == ["list", "watch 101", "watch 101", "list", "list"]


async def test_a_watch_that_breaks_after_a_while_is_renewed_at_once(
    setup: Setup,
) -> None:
    await setup.begin()
    await asyncio.sleep(90)
    setup.api.cut_watches()
    await settle()
    assert setup.api.watching == 1
    assert setup.api.calls[-1].at == setup.api.calls[0].at + 90


async def test_a_watch_that_held_for_a_while_starts_a_new_row_of_failures(
    setup: Setup,
) -> None:
    setup.api.refuse(*[TransportError("refused")] * 4)
    await setup.begin()
    await asyncio.sleep(1.2 + 2.4 + 4.8 + 9.6 + 15.1)
    assert setup.api.watching == 1
    setup.api.refuse(TransportError("refused"))
    setup.api.cut_watches()
    await asyncio.sleep(1.1)
    assert setup.api.watching == 0
    await asyncio.sleep(0.2)
    assert setup.api.watching == 1


async def test_a_missing_resource_is_logged_once_and_not_each_minute(
    setup: Setup,
) -> None:
    setup.api.absent.add(PODS)
    with structlog.testing.capture_logs() as logs:
        await setup.begin()
        await asyncio.sleep(600)
    assert [log["log_level"] for log in logs].count("info") == 1


async def test_a_watch_that_the_server_ends_starts_a_new_row_of_failures(
    setup: Setup,
) -> None:
    setup.api.refuse(*[TransportError("refused")] * 4)
    await setup.begin()
    await asyncio.sleep(1.2 + 2.4 + 4.8 + 9.6 + 2.0)
    setup.api.refuse(TransportError("refused"))
    setup.api.end_watches()
    await asyncio.sleep(1.3)
    assert setup.api.watching == 1


async def test_a_server_that_names_a_time_is_not_asked_sooner(setup: Setup) -> None:
    setup.api.refuse(TooManyRequestsError("busy", status=429, retry_after=17.0))
    await setup.begin()
    await asyncio.sleep(16.9)
    assert setup.api.verbs() == ["list"]
    await asyncio.sleep(0.2)
    assert setup.api.verbs() == ["list", "list", "watch 101"]


async def test_a_server_that_asks_for_hours_is_asked_again_after_two_minutes(
    setup: Setup,
) -> None:
    setup.api.refuse(TooManyRequestsError("busy", status=429, retry_after=7200.0))
    await setup.begin()
    await asyncio.sleep(121)
    assert setup.api.watching == 1


async def test_a_failing_server_is_not_asked_to_list_everything_again(
    setup: Setup,
) -> None:
    await setup.begin()
    setup.api.cut_watches()
    setup.api.refuse(
        ServerError("down", status=500),
        TransportError("silent"),
        ForbiddenError("no", status=403),
        TooManyRequestsError("busy", status=429),
    )
    await asyncio.sleep(120)
    assert setup.api.verbs() == ["list", *["watch 101"] * 6]


async def test_a_resource_that_does_not_exist_is_found_when_it_comes(
    setup: Setup,
) -> None:
    setup.api.absent.add(PODS)
    await setup.begin()
    await asyncio.sleep(600)
    assert set(setup.api.verbs()) == {"list"}
    assert set(setup.journal.heard) == {NotFoundError}
    setup.api.absent.clear()
    await asyncio.sleep(61)
    assert setup.journal.heard[-1] == ("listed", "a")


def test_only_answers_that_rule_the_version_out_cost_a_list() -> None:
    known = Following("7")
    assert after_failure(known, ExpiredError("x", status=410)) == Listing()
    assert after_failure(known, NotFoundError("x", status=404)) == Listing()
    assert after_failure(known, TransportError("x")) == known
    assert after_failure(Listing(), TransportError("x")) == Listing()
    restored = {"causes": [{"reason": "ResourceVersionTooLarge"}]}
    error = ServerError("x", status=504, details=restored)
    assert after_failure(known, error) == Listing()


async def test_watches_are_asked_to_last_five_to_ten_minutes_each_differently() -> None:
    made = Setup(random.Random(1))  # noqa: S311 - spread, not secrecy
    await made.begin()
    for _ in range(50):
        await asyncio.sleep(2)
        made.api.end_watches()
        await settle()
    lasts = [call.timeout_seconds for call in made.api.calls if call.timeout_seconds]
    assert 300 <= min(lasts) < 350
    assert 550 < max(lasts) <= 600
    assert made.task is not None
    made.task.cancel()
    await asyncio.wait([made.task])


async def test_activity_is_fresh_while_the_server_is_away(setup: Setup) -> None:
    loop = asyncio.get_running_loop()
    setup.api.refuse(*[TransportError("refused")] * 1000)
    await setup.begin()
    for _ in range(20):
        await asyncio.sleep(61)
        assert loop.time() - setup.reflector.last_activity <= 60


async def test_activity_of_a_quiet_watch_is_that_of_its_last_bookmark(
    setup: Setup,
) -> None:
    await setup.begin()
    before = setup.reflector.last_activity
    await asyncio.sleep(60)
    assert setup.reflector.last_activity == before
    setup.api.send_bookmarks()
    await settle()
    assert setup.reflector.last_activity == before + 60


async def test_an_error_that_is_not_the_apis_ends_the_reflector(setup: Setup) -> None:
    def broken(_: ObjectList) -> None:
        raise RuntimeError("a bug")

    setup.journal.replace = broken
    with pytest.raises(RuntimeError, match="a bug"):
        await setup.reflector.run()
