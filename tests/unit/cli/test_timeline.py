"""The way from accepted to serving, with times read from the objects."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pykaito.commands.snapshot import Snapshot
from pykaito.commands.timeline import Progress, stages, timeline
from tests.unit.cli.objects import (
    COPIED,
    NOW,
    RUNNING,
    SCHEDULED,
    START,
    at,
    condition,
    loading,
    machine,
    made_machine,
    pod,
    ready,
    workspace,
)


def test_each_step_took_the_time_since_the_one_before() -> None:
    steps = timeline(ready(), NOW)
    assert [(step.name, step.seconds) for step in steps] == [
        ("accepted", None),
        ("nodes ready", 2),
        ("pod created", 0),
        ("pod scheduled", 1),
        ("weights pulled", 20),
        ("weights copied", 40),
        ("server started", 1),
        ("model loaded", 118),
        ("serving", 1),
    ]
    assert {step.progress for step in steps} == {Progress.DONE}


def test_the_step_under_way_says_how_long_so_far() -> None:
    steps = {step.name: step for step in timeline(loading(), NOW)}
    assert steps["weights copied"].progress is Progress.DONE
    assert steps["model loaded"].progress is Progress.NOW
    assert steps["model loaded"].seconds == 300 - 64
    assert stages(loading()) == {"schedule": 1, "image": 21, "weights": 40}
    assert steps["serving"].progress is Progress.LATER


def test_a_model_from_the_hub_has_no_weights_to_copy() -> None:
    seen = ready()
    seen.workspace["inference"]["preset"].pop("presetOptions")
    assert "weights copied" not in [step.name for step in timeline(seen, NOW)]


def test_steps_that_cannot_be_read_are_unknown_not_undone() -> None:
    steps = {step.name: step for step in timeline(replace(ready(), pods=[]), NOW)}
    assert steps["pod scheduled"].progress is Progress.UNKNOWN
    assert steps["serving"].progress is Progress.DONE


def test_a_step_is_done_when_the_last_pod_did_it() -> None:
    seen = loading()
    late = seen.pods[0] | {
        "status": {"conditions": [condition("PodScheduled", "True", since=40)]}
    }
    steps = {s.name: s for s in timeline(replace(seen, pods=[*seen.pods, late]), NOW)}
    assert steps["pod scheduled"].at == START + timedelta(seconds=40)
    assert steps["weights pulled"].progress is Progress.NOW
    assert steps["weights copied"].progress is Progress.LATER


def test_pods_of_an_earlier_template_tell_nothing_of_the_start_of_the_new() -> None:
    seen = loading()
    seen.deployments[0]["spec"]["template"] = {"metadata": {"annotations": {"n": "2"}}}
    new = pod(SCHEDULED, weights=COPIED, state=RUNNING, annotations={"n": "2"})
    old = pod(condition("ContainersReady", "True", since=9), annotations={"n": "1"})
    steps = {s.name: s for s in timeline(replace(seen, pods=[old, new]), NOW)}
    assert steps["server started"].at == START + timedelta(seconds=64)
    assert steps["model loaded"].progress is Progress.NOW


def test_a_server_that_was_restarted_started_again() -> None:
    seen = ready()
    (server,) = seen.pods[0]["status"]["containerStatuses"]
    server |= {"restartCount": 1, "state": {"running": {"startedAt": at(170)}}}
    steps = {step.name: step for step in timeline(seen, NOW)}
    started = steps["server started"]
    assert (started.again, started.seconds) == (True, None)
    assert steps["model loaded"].seconds == 12


def test_a_step_done_a_second_time_claims_no_duration_and_spoils_no_other() -> None:
    seen = ready()
    resource = seen.workspace["status"]["conditions"][0]
    resource["lastTransitionTime"] = at(200)
    steps = {step.name: step for step in timeline(seen, NOW)}
    assert (steps["nodes ready"].again, steps["nodes ready"].seconds) == (True, None)
    assert steps["pod created"].seconds == 2
    assert steps["pod scheduled"].seconds == 1


def made(slot: int = 0, late: float = 0) -> dict[str, Any]:
    return made_machine(
        condition("Launched", "True", since=40 + late),
        condition("Registered", "True", since=90 + late),
        slot=slot,
        launchTime=at(1),
        readyTime=at(150 + late),
    )


def test_a_node_that_is_made_has_steps_of_its_own() -> None:
    live = workspace(condition("ResourceReady", "True", since=151))
    steps = timeline(Snapshot(live, [made()]), NOW)
    assert [(step.name, step.seconds) for step in steps][:6] == [
        ("accepted", None),
        ("node asked for", 1),
        ("node launched", 39),
        ("node joined", 50),
        ("node ready", 60),
        ("nodes ready", 1),
    ]


def test_of_several_nodes_that_are_made_the_last_counts() -> None:
    machines = [made(), made(1, late=20), machine()]
    steps = {s.name: s for s in timeline(Snapshot(workspace(), machines), NOW)}
    assert steps["node joined"].at == START + timedelta(seconds=110)
    machines.append(made_machine(slot=2, launchTime=at(2)))
    steps = {s.name: s for s in timeline(Snapshot(workspace(), machines), NOW)}
    assert steps["node asked for"].progress is Progress.DONE
    assert steps["node launched"].progress is Progress.NOW
    assert steps["node ready"].progress is Progress.LATER


def test_a_node_that_was_prepared_is_not_made() -> None:
    assert not any(step.name.startswith("node ") for step in timeline(ready(), NOW))


def test_a_workspace_just_applied_waits_for_nodes() -> None:
    steps = timeline(Snapshot(workspace()), NOW)
    assert [step.progress for step in steps][:2] == [Progress.DONE, Progress.NOW]
