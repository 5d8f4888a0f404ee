"""From the command line to the process's exit status."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from pykaito.runtime.hf.adapters import ADAPTERS_VARIABLE, parse_adapters
from pykaito.runtime.hf.config_file import CONFIG_VARIABLE, read_config_file
from pykaito.runtime.hf.environment import available_cpus, prepare_environment
from pykaito.runtime.hf.flags import FlagError, Settings, parse_flags
from pykaito.runtime.hf.logs import configure_logs
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.hf.pid_file import pid_file
from pykaito.runtime.hf.server import listen, serve

log = logging.getLogger(__name__)

#: Kubernetes shows what a container wrote here as the reason why it ended.
TERMINATION_LOG = Path("/dev/termination-log")

#: Bytes of it that Kubernetes reads.
TERMINATION_LOG_BYTES = 4096

#: Exit statuses: 2 is wrong flags, as usual; 1 a model that cannot be served.
USAGE, FAILED = 2, 1


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the server until it is told to end, then end the process."""
    status = _run(sys.argv[1:] if argv is None else argv, os.environ)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread inside torch, which may still load or generate,
    # does not survive the interpreter's own way out.
    os._exit(status)


def _run(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    configure_logs()
    try:
        settings = _with_config_file(parse_flags(argv), environ)
        adapters = parse_adapters(
            environ.get(ADAPTERS_VARIABLE), Path(settings.adapters_dir)
        )
        listener = listen(settings)
    except FlagError as error:
        return _fail(str(error), USAGE)
    except SystemExit as asked:  # --help
        return int(asked.code or 0)
    prepare_environment(
        environ,
        allow_remote_files=settings.allow_remote_files,
        threads=available_cpus(),
    )
    try:
        with pid_file():
            asyncio.run(serve(settings, adapters, listener))
    except LoadError as error:
        return _fail(str(error), FAILED)
    except Exception as error:
        log.exception("the server failed")
        return _fail(f"{type(error).__name__}: {error}", FAILED)
    return 0


def _with_config_file(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Let the user's file go before the flags, as vLLM's runtime does."""
    path = environ.get(CONFIG_VARIABLE)
    if not path:
        return settings
    found = read_config_file(Path(path))
    if found.unused:
        log.info("settings that this runtime has not", extra={"keys": found.unused})
    if found.max_model_len is None:
        return settings
    return replace(settings, max_model_len=found.max_model_len)


def _fail(message: str, status: int, report: Path = TERMINATION_LOG) -> int:
    """Say why in one line, to people and to Kubernetes."""
    line = f"pykaito.runtime.hf: {' '.join(message.split())}"
    sys.stderr.write(f"{line}\n")
    with contextlib.suppress(OSError):
        if report.exists():
            report.write_bytes(line.encode()[:TERMINATION_LOG_BYTES])
    return status
