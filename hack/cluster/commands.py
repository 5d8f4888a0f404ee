"""Run a command, wait for a condition: always with a limit, always with a reason."""

import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ClusterError(Exception):
    """The cluster cannot be brought up or down; the message says why and where."""


def run(
    *argv: str | Path,
    timeout: float = 60,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return what it printed.

    Args:
        argv: The command and its arguments; no shell is involved.
        timeout: Seconds after which the command is killed.
        stdin: Text given to the command, nothing by default.
        cwd: Its working directory.
        env: Its whole environment; this process's own by default.

    Raises:
        ClusterError: It is not installed, failed, or took too long. The message
            holds the end of what it printed.
    """
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env=env,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"`{command[0]}` is not installed; `python -m hack.cluster.packages`"
            " installs what the cluster needs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"`{' '.join(command)}` took longer than {timeout:.0f} s"
        ) from error
    if done.returncode != 0:
        raise ClusterError(
            f"`{' '.join(command)}` ended with {done.returncode}:\n"
            f"{last_lines(done.stderr or done.stdout)}"
        )
    return done.stdout


def succeeds(*argv: str | Path, timeout: float = 60) -> bool:
    """Whether a command ends well."""
    try:
        run(*argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def answers(url: str, *, accept: str = "*/*") -> bool:
    """Whether a plain HTTP address answers with success.

    Args:
        url: The address.
        accept: The media type asked for.
    """
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=2):  # noqa: S310
            return True
    except OSError:
        return False


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout: float,
    otherwise: Callable[[], str],
    interval: float = 0.1,
) -> None:
    """Return as soon as a condition holds.

    Args:
        condition: Asked every `interval` seconds; may itself raise to give up.
        timeout: Seconds to wait in all.
        otherwise: Says what was waited for, for the error.
        interval: Seconds between two questions.

    Raises:
        ClusterError: The condition did not hold within `timeout`.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {timeout:.0f} s: {otherwise()}")
        time.sleep(interval)


def last_lines(text: str, count: int = 15) -> str:
    """The end of a log, indented, to be shown in an error."""
    lines: Sequence[str] = text.rstrip().splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
