"""The work queue, on virtual time."""

import asyncio
import itertools

import pytest
from prometheus_client import REGISTRY

from pykaito.operator.backoff import ItemBackoff
from pykaito.operator.workqueue import Priority, ShutDown, WorkQueue
from tests.unit.operator.virtual_time import VirtualClock, VirtualTimeLoop, settle

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def queue(virtual_clock: VirtualClock) -> WorkQueue[str]:
    return WorkQueue[str](virtual_clock)


def now() -> float:
    return asyncio.get_running_loop().time()


async def take_all(queue: WorkQueue[str]) -> list[str]:
    """Take and finish what is ready now."""
    taken = []
    while len(queue):
        item = await queue.get()
        queue.done(item)
        taken.append(item)
    return taken


async def test_items_come_out_in_the_order_they_went_in(queue: WorkQueue[str]) -> None:
    for item in "cab":
        queue.add(item)
    assert await take_all(queue) == ["c", "a", "b"]


async def test_an_item_added_twice_is_handed_out_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert await take_all(queue) == ["a"]


async def test_an_item_added_while_processing_is_queued_again_when_done(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await take_all(queue) == ["a"]


async def test_done_without_a_new_add_queues_nothing(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.done(await queue.get())
    assert len(queue) == 0


async def test_done_of_an_item_nobody_took_is_an_error(queue: WorkQueue[str]) -> None:
    queue.add("a")
    with pytest.raises(ValueError, match="'a' is not being processed"):
        queue.done("a")


async def test_live_items_go_before_those_of_the_initial_list(
    queue: WorkQueue[str],
) -> None:
    queue.add("listed", priority=Priority.LOW)
    queue.add("live")
    assert await take_all(queue) == ["live", "listed"]


async def test_a_live_event_promotes_an_item_of_the_initial_list(
    queue: WorkQueue[str],
) -> None:
    for item in "abc":
        queue.add(item, priority=Priority.LOW)
    queue.add("c", priority=Priority.NORMAL)
    assert await take_all(queue) == ["c", "a", "b"]


async def test_a_resync_does_not_demote_a_live_item(queue: WorkQueue[str]) -> None:
    queue.add("live")
    queue.add("other", priority=Priority.LOW)
    queue.add("live", priority=Priority.LOW)
    assert await take_all(queue) == ["live", "other"]


async def test_the_priority_of_an_add_while_processing_counts_when_it_is_done(
    queue: WorkQueue[str],
) -> None:
    queue.add("a", priority=Priority.LOW)
    await queue.get()
    queue.add("b", priority=Priority.LOW)
    queue.add("a", priority=Priority.NORMAL)
    queue.done("a")
    assert await take_all(queue) == ["a", "b"]


async def test_a_stream_of_live_items_does_not_starve_the_initial_list(
    queue: WorkQueue[str],
) -> None:
    queue.add("listed", priority=Priority.LOW)
    for number in itertools.count():
        queue.add(f"live-{number}")
        queue.add(f"more-{number}")
        item = await queue.get()
        queue.done(item)
        if item == "listed":
            break
    assert number == 15


async def test_a_delayed_item_is_ready_at_its_time_and_not_before(
    queue: WorkQueue[str],
) -> None:
    start = now()
    queue.add_after("a", 60)
    assert len(queue) == 0
    assert await queue.get() == "a"
    assert now() - start == pytest.approx(60)


@pytest.mark.parametrize("delays", [(10, 60), (60, 10)])
async def test_of_two_delays_the_earlier_wins_and_the_later_is_no_second_turn(
    queue: WorkQueue[str], delays: tuple[float, float]
) -> None:
    start = now()
    for delay in delays:
        queue.add_after("a", delay)
    queue.done(await queue.get())
    assert now() - start == pytest.approx(10)
    await asyncio.sleep(100)
    assert len(queue) == 0


async def test_an_immediate_add_fulfils_a_delayed_one(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 60)
    queue.add("a")
    assert await take_all(queue) == ["a"]
    await asyncio.sleep(100)
    assert len(queue) == 0


async def test_a_delayed_add_of_a_ready_item_changes_nothing(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    queue.add_after("a", 60)
    assert await take_all(queue) == ["a"]
    await asyncio.sleep(100)
    assert len(queue) == 0


@pytest.mark.parametrize("delay", [0, -1])
async def test_a_delay_of_nothing_adds_at_once(
    queue: WorkQueue[str], delay: float
) -> None:
    queue.add_after("a", delay)
    assert await take_all(queue) == ["a"]


async def test_a_delay_that_ends_while_the_item_is_processed_queues_it_again(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    await queue.get()
    queue.add_after("a", 5)
    await asyncio.sleep(10)
    assert len(queue) == 0
    queue.done("a")
    assert await take_all(queue) == ["a"]


async def test_a_retry_keeps_the_priority_its_item_was_processed_with(
    queue: WorkQueue[str],
) -> None:
    queue.add("listed", priority=Priority.LOW)
    await queue.get()
    queue.add_rate_limited("listed")
    queue.done("listed")
    await asyncio.sleep(1)
    queue.add("live")
    assert await take_all(queue) == ["live", "listed"]


async def test_failures_double_the_delay_from_5_ms_to_1000_s(
    queue: WorkQueue[str],
) -> None:
    delays = []
    for _ in range(20):
        start = now()
        queue.add_rate_limited("a")
        queue.done(await queue.get())
        delays.append(now() - start)
    assert delays[:4] == pytest.approx([0.005, 0.01, 0.02, 0.04], abs=1e-5)
    assert delays[17] == pytest.approx(0.005 * 2**17, abs=1e-3)
    assert delays[18:] == pytest.approx([1000, 1000])


async def test_an_item_that_fails_for_years_still_has_a_delay() -> None:
    backoff = ItemBackoff[str]()
    backoff._failures["a"] = 10**6
    assert backoff.next_delay("a") == 1000


async def test_each_item_has_its_own_backoff(queue: WorkQueue[str]) -> None:
    for _ in range(5):
        queue.add_rate_limited("a")
    assert queue.num_requeues("a") == 5
    assert queue.num_requeues("b") == 0


async def test_a_forgotten_item_starts_its_backoff_afresh(
    queue: WorkQueue[str],
) -> None:
    for _ in range(10):
        queue.add_rate_limited("a")
    queue.done(await queue.get())
    queue.forget("a")
    assert queue.num_requeues("a") == 0
    start = now()
    queue.add_rate_limited("a")
    await queue.get()
    assert now() - start == pytest.approx(0.005, abs=1e-5)


def test_a_backoff_without_a_sensible_range_is_refused() -> None:
    with pytest.raises(ValueError, match="got base=2 and ceiling=1"):
        ItemBackoff[str](base=2, ceiling=1)


async def test_waiting_workers_are_served_in_turn(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    for item in "abc":
        queue.add(item)
    assert await asyncio.gather(*workers) == ["a", "b", "c"]


async def test_a_cancelled_worker_leaves_its_item_to_the_next(
    queue: WorkQueue[str],
) -> None:
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    queue.add("a")
    first.cancel()  # already woken for "a", which it has not taken yet
    assert await asyncio.wait_for(second, 1) == "a"
    assert first.cancelled()


async def test_a_cancelled_waiting_worker_is_not_woken(queue: WorkQueue[str]) -> None:
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    queue.add("a")
    assert await asyncio.wait_for(second, 1) == "a"


async def test_shutting_down_ends_every_waiting_worker(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.shut_down()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert [type(result) for result in results] == [ShutDown] * 3


async def test_after_shutdown_nothing_is_handed_out_or_taken_in(
    queue: WorkQueue[str],
) -> None:
    queue.add("ready")
    queue.add_after("delayed", 5)
    queue.shut_down()
    queue.add("late")
    queue.add_after("later", 1)
    await asyncio.sleep(10)
    assert len(queue) == 0
    with pytest.raises(ShutDown):
        await queue.get()


async def test_draining_waits_for_what_is_being_processed(
    queue: WorkQueue[str],
) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    asyncio.get_running_loop().call_later(7, queue.done, "a")
    start = now()
    assert await queue.drain(20)
    assert now() - start == pytest.approx(7)
    assert len(queue) == 0


async def test_draining_gives_up_after_its_timeout(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    start = now()
    assert not await queue.drain(20)
    assert now() - start == pytest.approx(20)


def metric(name: str, **labels: str) -> float | None:
    both = {"name": labels["controller"]} | labels
    return REGISTRY.get_sample_value(name, both)


async def test_metrics_tell_depth_adds_retries_and_durations(
    virtual_clock: VirtualClock,
) -> None:
    queue = WorkQueue[str](virtual_clock, controller_of=lambda _: "told")
    queue.add("a", priority=Priority.LOW)
    queue.add("b", priority=Priority.LOW)
    queue.add("b")
    assert metric("workqueue_depth", controller="told", priority="low") == 1
    assert metric("workqueue_depth", controller="told", priority="normal") == 1
    assert metric("workqueue_adds_total", controller="told") == 2
    await asyncio.sleep(3)
    item = await queue.get()
    assert metric("workqueue_depth", controller="told", priority="normal") == 0
    assert metric("workqueue_queue_duration_seconds_sum", controller="told") == 3
    await asyncio.sleep(2)
    queue.add_rate_limited(item)
    assert metric("workqueue_unfinished_work_seconds", controller="told") == 2
    assert metric("workqueue_longest_running_processor_seconds", controller="told") == 2
    queue.done(item)
    assert metric("workqueue_work_duration_seconds_sum", controller="told") == 2
    assert metric("workqueue_unfinished_work_seconds", controller="told") == 0
    assert metric("workqueue_retries_total", controller="told") == 1


async def test_a_shutdown_leaves_no_depth_behind(virtual_clock: VirtualClock) -> None:
    queue = WorkQueue[str](virtual_clock, controller_of=lambda _: "shut")
    for item in "abc":
        queue.add(item)
    queue.shut_down()
    assert metric("workqueue_depth", controller="shut", priority="normal") == 0


async def test_the_longest_running_item_is_found_also_while_the_loop_was_blocked(
    virtual_clock: VirtualClock,
) -> None:
    queue = WorkQueue[str](virtual_clock, controller_of=lambda _: "blocked")
    queue.add("a")
    await queue.get()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.spend(30)
    longest = metric(
        "workqueue_longest_running_processor_seconds", controller="blocked"
    )
    assert longest == pytest.approx(30)
