"""Whether a new pod starts before the old one stops."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pykaito.reconcilers.inference.rollout import (
    PATIENCE,
    Strategy,
    carried,
    interrupts,
    lacking,
    strategy,
)
from tests.unit.reconcilers.workspaces import node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GPU = {"nvidia.com/gpu": "1"}
LACK = "node 'a' has no room"


def deployed(
    *,
    surge: bool,
    replicas: int = 1,
    old: int = 0,
    image: str = "1",
    available: int = 1,
) -> dict[str, Any]:
    """Return a Deployment; ``old``: how many pods of the earlier template there are."""
    rolling = {"maxSurge": int(surge), "maxUnavailable": int(not surge)}
    return {
        "metadata": {"generation": 1},
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": rolling},
            "template": {"image": image},
        },
        "status": {
            "observedGeneration": 1,
            "replicas": replicas + old,
            "updatedReplicas": replicas,
            "availableReplicas": available,
        },
    }


def waiting(since: timedelta) -> dict[str, Any]:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": (NOW - since).isoformat(),
        "message": "0/1 nodes: Insufficient nvidia.com/gpu",
    }
    return {"metadata": {"name": "new"}, "status": {"conditions": [condition]}}


def decide(
    found: Any = None,
    *pods: Any,
    lack: str = "",
    replicas: int = 1,
    cordoned: bool = False,
) -> Strategy:
    return strategy(found, pods, lack, replicas=replicas, cordoned=cordoned, now=NOW)


def test_a_pod_more_is_started_where_there_is_room() -> None:
    assert decide().surge
    assert decide(deployed(surge=False)).surge


def test_without_room_the_old_pod_stops_first_and_it_is_said_why() -> None:
    assert decide(deployed(surge=True), lack=LACK) == Strategy(
        surge=False, why_not=LACK
    )


def test_a_rollout_goes_on_as_it_began() -> None:
    assert decide(deployed(surge=True, old=1), lack=LACK).surge
    assert not decide(deployed(surge=False, old=1)).surge


def test_a_pod_more_that_fits_nowhere_is_waited_for_a_while() -> None:
    rolling = deployed(surge=True, old=1)
    early = decide(rolling, waiting(PATIENCE / 3))
    assert early.surge
    assert early.look_again == (PATIENCE * 2 / 3).total_seconds()
    late = decide(rolling, waiting(PATIENCE))
    assert not late.surge
    assert "Insufficient nvidia.com/gpu" in late.why_not


def test_an_old_pod_that_never_served_gives_way_too() -> None:
    rolling = deployed(surge=True, old=1, available=0)
    assert not decide(rolling, waiting(PATIENCE * 2)).surge


def test_a_pod_that_waits_and_is_the_only_one_is_no_pod_more() -> None:
    rolling = deployed(surge=True, available=0)
    rolling["status"]["observedGeneration"] = 0
    assert decide(rolling, waiting(PATIENCE * 2)) == Strategy(surge=True)


def test_nothing_stops_while_all_nodes_are_cordoned() -> None:
    assert decide(deployed(surge=False), lack=LACK, cordoned=True).surge
    rolling = deployed(surge=True, old=1)
    late = decide(rolling, waiting(PATIENCE * 2), cordoned=True)
    assert late == Strategy(surge=True)


def test_a_pod_that_is_going_away_is_not_waited_for() -> None:
    gone = waiting(PATIENCE * 2)
    gone["metadata"]["deletionTimestamp"] = "now"
    assert decide(deployed(surge=True, old=1), gone).surge


def test_one_replica_less_leaves_room_for_the_pod_that_takes_its_place() -> None:
    assert decide(deployed(surge=False, replicas=2), lack=LACK).surge


def test_downtime_begins_with_a_new_template_that_has_no_room() -> None:
    before = deployed(surge=False, image="1")
    assert interrupts(before, deployed(surge=False, image="2"))
    assert not interrupts(before, deployed(surge=True, image="2"))
    assert not interrupts(before, before)
    assert not interrupts(None, before)


def test_a_change_of_the_strategy_alone_is_no_downtime() -> None:
    assert not interrupts(deployed(surge=True), deployed(surge=False))


def test_giving_up_the_pod_more_in_a_rollout_is_downtime() -> None:
    assert interrupts(deployed(surge=True, old=1), deployed(surge=False, old=1))


def test_what_does_not_serve_has_no_downtime() -> None:
    before = deployed(surge=False, available=0)
    assert not interrupts(before, deployed(surge=False, image="2"))


def test_two_replicas_are_never_both_down() -> None:
    before = deployed(surge=False, replicas=2, available=2)
    assert not interrupts(before, deployed(surge=False, replicas=2, image="2"))


def test_one_node_with_twice_the_gpus_has_room() -> None:
    assert lacking([node("a"), node("b", gpus=2)], GPU, {}) == ""


def test_what_others_claim_is_no_room() -> None:
    message = lacking([node("b", gpus=2)], GPU, {"b": [GPU]})
    assert message == (
        "node 'b' has no room for a second replica: each takes 1 of its 2 "
        "nvidia.com/gpu, beside other Workspaces"
    )


def test_a_node_that_takes_no_pods_has_no_room() -> None:
    assert "takes no pod now" in lacking([node("a", gpus=2, ready=False)], GPU, {})


def test_a_claim_goes_to_another_node_once_the_old_pod_is_gone() -> None:
    assert carried(["models", "kept"], ["a"], ["b"]) == (
        "PersistentVolumeClaim models and kept may be on one node at a time"
    )


@pytest.mark.parametrize(
    ("claims", "before", "after"),
    [
        ([], ["a"], ["b"]),
        (["models"], ["a"], ["a"]),
        (["models"], ["a", "b"], ["a"]),
        (["models"], ["a"], ["b", "c"]),
        (["models"], [], ["b"]),
    ],
)
def test_a_claim_that_stays_or_is_shared_anyway_needs_no_downtime(
    claims: list[str], before: list[str], after: list[str]
) -> None:
    assert carried(claims, before, after) == ""


def test_pods_that_ask_for_nothing_have_room_anywhere() -> None:
    assert lacking([node("a", gpus=None)], {}, {}) == ""
