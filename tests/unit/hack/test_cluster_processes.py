import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack.cluster.commands import ClusterError, run, wait_until
from hack.cluster.identity import end, find, identify, parse_stat
from hack.cluster.process import Process
from hack.cluster.state import State

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_a_started_process_is_found_again_and_ended_by_its_record(state: State) -> None:
    Process("one", state).start(SLEEP)
    again = Process("one", state)
    assert again.runs(SLEEP)
    again.end()
    assert again.identity is None
    assert not again.runs(SLEEP)


def test_a_process_started_by_another_command_does_not_count_as_running(
    state: State,
) -> None:
    process = Process("one", state)
    process.start(SLEEP)
    try:
        assert not process.runs((*SLEEP, "--new-flag"))
    finally:
        process.end()


def test_a_pid_that_now_belongs_to_somebody_else_is_not_believed(state: State) -> None:
    record = {"pid": os.getpid(), "started": 1, "boot": "another", "argv": list(SLEEP)}
    (state.directory("pids") / "one.json").write_text(json.dumps(record))
    process = Process("one", state)
    assert process.identity is None
    process.end()
    assert identify(os.getpid()) is not None


def test_a_record_cut_short_by_a_crash_counts_as_no_record(state: State) -> None:
    (state.directory("pids") / "one.json").write_text('{"pid": 12')
    assert Process("one", state).identity is None


def test_a_zombie_does_not_run() -> None:
    with subprocess.Popen(["true"], stdin=subprocess.DEVNULL) as child:
        wait_until(
            lambda: identify(child.pid) is None,
            timeout=10,
            otherwise=lambda: "the child a zombie",
        )


def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_log(
    state: State,
) -> None:
    process = Process("one", state)
    code = "import time; print('no disk', flush=True); time.sleep(60)"
    started = process.start((sys.executable, "-c", code))
    wait_until(
        lambda: "no disk" in process.log.read_text(),
        timeout=20,
        otherwise=lambda: "the process at work",
    )
    end(started, "one")
    with pytest.raises(ClusterError, match=r"one ended.*one\.log(?s:.*)no disk"):
        process.wait_ready(lambda: False, timeout=20)


def test_a_process_that_is_never_ready_is_given_up_with_its_log(state: State) -> None:
    process = Process("one", state)
    process.start(SLEEP)
    try:
        with pytest.raises(
            ClusterError, match=r"not within 0 s: one ready; .*one\.log"
        ):
            process.wait_ready(lambda: False, timeout=0)
    finally:
        process.end()


def test_a_forgotten_process_is_found_by_its_whole_command_line(state: State) -> None:
    command = (*SLEEP, str(state.root))
    found = Process("one", state).start(command)
    try:
        wait_until(
            lambda: find(command) == [found],
            timeout=10,
            otherwise=lambda: "the process found",
        )
        assert find((*command, "more")) == []
    finally:
        Process("one", state).end()


def test_a_command_name_with_spaces_and_parentheses_is_read_past() -> None:
    fields = " ".join(str(number) for number in range(4, 30))
    assert parse_stat(f"7 (a (b) c) S {fields}") == ("S", 22)


def test_a_missing_command_names_what_installs_it() -> None:
    with pytest.raises(ClusterError, match=r"hack\.cluster\.packages"):
        run("no-such-command-anywhere")


def test_a_failed_command_tells_the_end_of_what_it_printed() -> None:
    with pytest.raises(ClusterError, match=r"ended with 3:\n    out of luck"):
        run(sys.executable, "-c", "import sys; print('out of luck'); sys.exit(3)")


def test_a_command_that_takes_too_long_is_killed() -> None:
    with pytest.raises(ClusterError, match="took longer"):
        run(*SLEEP, timeout=0.2)
