"""``python -m pykaito.runtime.hf.stop``: end the server here and wait for it.

The preStop hook of a pod: the server drains as it does on SIGTERM, and the
hook returns when it has ended, or after the timeout.
"""

import argparse
import os
import signal
import sys
import time

from pykaito.runtime.hf.pid_file import read_pid

#: Seconds between two looks at whether the process is still there.
INTERVAL = 0.05


def stop(port: int, timeout: float) -> bool:
    """End the server on a port; return False if it still runs after the timeout."""
    pid = read_pid(port)
    if pid is None:
        return True
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while read_pid(port) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(INTERVAL)
    return True


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m pykaito.runtime.hf.stop")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--timeout", type=float, default=30.0, help="in seconds")
    arguments = parser.parse_args()
    return 0 if stop(arguments.port, arguments.timeout) else 1


if __name__ == "__main__":
    sys.exit(main())
