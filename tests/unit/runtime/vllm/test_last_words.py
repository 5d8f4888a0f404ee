"""Among what an engine's processes say is why they ended."""

import os
import subprocess
import time

import pytest

from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.vllm.last_words import HEARD, STALE, LastWords, listening
from pykaito.runtime.vllm.stages import Stages


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ValueError: heads", "ValueError: heads"),
        ("torch.OutOfMemoryError: CUDA out", "torch.OutOfMemoryError: CUDA out"),
        (
            "(Worker-0 pid=3) ERROR 11-29 [m.py:95] OSError: no file\n",
            "OSError: no file",
        ),
        ("RuntimeError: Engine core initialization failed. See root cause above.", ""),
        ("Exception: WorkerProc ... See stack trace for root cause.", ""),
        ("WARNING [cpu.py:644] Failed to import: ImportError('libnuma')", ""),
        ('  raise ValueError(f"bad: {x}")', ""),
        ("(APIServer pid=3) ERROR [s.py:9] ValueError: of a request", ""),
    ],
)
def test_an_exception_is_told_from_other_lines(line: str, error: str) -> None:
    words = LastWords()
    words.hear(line)
    assert words.error == error


def test_the_last_of_them_counts() -> None:
    words = LastWords()
    for line in ("KeyError: 'a'", "ValueError: b", "RuntimeError: root cause above"):
        words.hear(line)
    assert words.error == "ValueError: b"


def test_an_exception_that_is_long_past_is_no_reason() -> None:
    now = 1000.0
    words = LastWords(clock=lambda: now)
    words.hear("ValueError: an adapter")
    assert words.error == "ValueError: an adapter"
    now += STALE
    assert words.error == ""


def test_what_children_write_is_heard_by_line_and_passed_on_as_it_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard: list[str] = []
    with listening(heard.append):
        subprocess.run(["sh", "-c", r"printf '1/2\r2/2\ndone\n' >&2"], check=True)
    assert heard == ["1/2", "2/2", "done"]
    assert capfd.readouterr().err == "1/2\r2/2\ndone\n"


def test_an_ear_that_fails_keeps_nobody_from_writing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard: list[str] = []

    def fail(line: str) -> None:
        raise ValueError(line)

    with listening(fail, heard.append):
        subprocess.run(["sh", "-c", "echo one >&2; echo two >&2"], check=True)
    assert heard == ["one", "two"]
    assert capfd.readouterr().err == "one\ntwo\n"


def test_of_an_endless_line_the_beginning_is_heard(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Clients have names of models, which may be theirs, written into a line."""
    heard: list[str] = []
    progress = Progress()
    line = f"Loading 1% Completed | {'9' * 50_000}/1 ["
    with listening(Stages(progress).hear, heard.append):
        os.write(2, f"{line}\n".encode())
    assert heard == [line[:HEARD]]
    assert progress.loaded == 0
    assert capfd.readouterr().err == f"{line}\n"


def test_a_child_that_stays_is_heard_and_not_waited_for() -> None:
    heard: list[str] = []
    with listening(heard.append):
        child = subprocess.Popen(
            ["sh", "-c", "echo said >&2; echo; read line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        before = time.monotonic()
    assert time.monotonic() - before < 4
    assert heard == ["said"]
    assert child.poll() is None
    child.communicate()
