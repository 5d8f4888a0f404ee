"""schemathesis asks a server what its description allows and forbids."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.schemathesis_checks import SEEN

ROOT = Path(__file__).parents[1]

#: Seconds for one request; a hang is a failure.
PATIENCE = 60

SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 413]
"""


def ask(
    schema: dict[str, Any],
    url: str,
    folder: Path,
    *options: str,
    hooks: str = "tests.schemathesis_checks",
    seconds: float = 300,
) -> "Counter[str]":
    """Send requests from a process of its own; fail if a reply is wrong.

    Args:
        schema: The description of the API.
        url: Where it is served.
        folder: For the files that schemathesis reads.
        options: Its command's.
        hooks: The module with more checks.
        seconds: That all of it may take.

    Returns:
        How many replies were of which kind: method, path and status.
    """
    described, settings, seen = (folder / name for name in ("openapi", "toml", "seen"))
    described = described.with_suffix(".json")
    described.write_text(json.dumps(schema))
    settings.write_text(SETTINGS)
    seen.write_text("")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
            *("--config-file", str(settings), "run", str(described)),
            *("--url", url, "--request-timeout", str(PATIENCE)),
            *("--continue-on-failure", "--generation-database=none"),
            # The same requests every time, but where others are looked for.
            *(() if "SOAK_FACTOR" in os.environ else ("--seed=1",)),
            *options,
        ],
        # It leaves files of its own where it runs.
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "SCHEMATHESIS_HOOKS": hooks,
            SEEN: str(seen),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    return Counter(seen.read_text().splitlines())
