"""From the command line to the process's exit status."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.logs import configure_logs
from pykaito.runtime.hf.model_source import LoadError, find_model
from pykaito.runtime.vllm.adapter_start import Start, adapters_at_start
from pykaito.runtime.vllm.base_model import check_adapters
from pykaito.runtime.vllm.command import DEFAULTS, Syntax, command_line, value_of
from pykaito.runtime.vllm.config_file import (
    CONFIG_VARIABLE,
    ConfigFile,
    read_config_file,
)
from pykaito.runtime.vllm.environment import ADAPTERS_FOLDER, prepare_environment
from pykaito.runtime.vllm.last_words import LastWords, listening
from pykaito.runtime.vllm.model import with_model
from pykaito.runtime.vllm.stages import ENGINE, IMPORTING, Stages
from pykaito.runtime.vllm.starting import ServerStart
from pykaito.runtime.vllm.status_server import listen

log = logging.getLogger(__name__)

#: Kubernetes shows what a container wrote here as the reason why it ended.
TERMINATION_LOG = Path("/dev/termination-log")
#: Bytes of it that Kubernetes reads.
TERMINATION_LOG_BYTES = 4096

#: Of a model as transformers saves one, or as Mistral does.
MODEL_FILES = ("config.json", "params.json")

#: Why an engine ended that said nothing.
SILENT = (
    "the engine ended without a word, as a process does that needs more memory than "
    "there is"
)

#: Exit statuses: 2 is wrong flags, as usual; 1 a model that cannot be served.
USAGE, FAILED = 2, 1


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run vLLM's server until it is told to end, then end the process."""
    # As a container's first process it would be deaf to it until vLLM listens.
    signal.signal(signal.SIGTERM, _interrupt)
    configure_logs()
    try:
        run(sys.argv[1:] if argv is None else argv, os.environ)
    except FlagError as error:
        sys.exit(fail(str(error), USAGE))
    except LoadError as error:
        sys.exit(fail(str(error), FAILED))
    sys.exit(0)


def run(argv: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Serve what the command line, the file and the environment say.

    Raises:
        FlagError: they are malformed.
        LoadError: model or adapter cannot be served, or vLLM failed.
    """
    ours, given = _parser().parse_known_args(argv)
    path = ours.kaito_config_file or environ.get(CONFIG_VARIABLE)
    config = read_config_file(Path(path)) if path else ConfigFile()
    if config.unused:
        log.info("settings that this runtime has not", extra={"keys": config.unused})
    adapters = adapters_at_start(
        environ,
        Path(ours.kaito_adapters_dir),
        Path(tempfile.gettempdir(), "adapters"),
    )
    model = find_model(ours.model, flag="--model", files=MODEL_FILES)
    given = [f"--model={model}", *(word for word in given if _has_template(word))]
    environ[ADAPTERS_FOLDER] = ours.kaito_adapters_dir
    prepare_environment(environ)
    start = _start(given, config)
    with start.told():
        given = with_model(given, config.options, environ, start.progress)
        check_adapters(
            adapters.files(Path(ours.kaito_adapters_dir)),
            Path(value_of("model", given, config.options) or ""),
        )
        _serve(
            given,
            config,
            adapters,
            start,
            limited=not ours.kaito_disable_rate_limit,
        )


def _start(given: Sequence[str], config: ConfigFile) -> ServerStart:
    """Open the port.

    Raises:
        FlagError: that is not possible.
    """

    def value(option: str) -> str:
        return value_of(option, given, config.options) or ""

    port = value("port")
    if not port.isdigit():
        raise FlagError(f"--port: found {port!r}, must be a number")
    listener = listen(value("host"), int(port))
    return ServerStart(listener, value("served-model-name") or value("model"))


def _serve(
    given: Sequence[str],
    config: ConfigFile,
    adapters: Start,
    start: ServerStart,
    *,
    limited: bool,
) -> None:
    """Hand over to vLLM, as its own command does.

    Raises:
        FlagError: vLLM does not take its arguments.
        LoadError: it failed.
    """
    start.progress.begin(IMPORTING)
    import uvloop  # noqa: PLC0415 - vLLM reads the environment when it is imported
    from vllm.entrypoints.launchers.api_server.entry import (  # noqa: PLC0415
        run_server_worker,
    )
    from vllm.entrypoints.launchers.cli_args import (  # noqa: PLC0415
        make_arg_parser,
        validate_parsed_serve_args,
    )
    from vllm.entrypoints.launchers.launcher import setup_server  # noqa: PLC0415
    from vllm.entrypoints.serve.utils.api_utils import (  # noqa: PLC0415
        cli_env_setup,
    )
    from vllm.logger import configure_logging_from_args  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415
    from vllm.utils.system_utils import decorate_logs  # noqa: PLC0415

    async def run() -> None:
        decorate_logs("APIServer", skip_if_decorated=True)
        # It checks and sets up more than the socket, which is here already.
        address, spare = setup_server(arguments, reuse_port=True)
        spare.close()
        await run_server_worker(address, start.listener, arguments)

    cli_env_setup()
    parser: Any = make_arg_parser(FlexibleArgumentParser(prog="pykaito.runtime.vllm"))
    words = command_line(
        given, config.options, adapters, Syntax.of(parser), limited=limited
    )
    parser.error = _refuse
    arguments = parser.parse_args(words)
    configure_logging_from_args(arguments)
    try:
        validate_parsed_serve_args(arguments)
    except (TypeError, ValueError) as error:
        _refuse(str(error))
    start.progress.begin(ENGINE)
    failure: Exception | None = None
    said = LastWords()
    start.at_hand_over = start.ending.watch
    with listening(said.hear, Stages(start.progress).hear):
        try:
            uvloop.run(run())
        except Exception as error:
            log.exception("the server failed")
            failure = error
    if failure is not None:
        told = said.error or f"{type(failure).__name__}: {failure}"
        raise LoadError(told) from failure
    if start.ending.premature:
        raise LoadError(said.error or SILENT)


def fail(message: str, status: int, report: Path = TERMINATION_LOG) -> int:
    """Say why in one line, to people and to Kubernetes; return the status."""
    line = f"pykaito.runtime.vllm: {' '.join(message.split())}"
    sys.stderr.write(f"{line}\n")
    with contextlib.suppress(OSError):
        if report.exists():
            report.write_bytes(line.encode()[:TERMINATION_LOG_BYTES])
    return status


def _interrupt(*_: object) -> NoReturn:
    # Not KeyboardInterrupt: vLLM goes on after one while it waits for its engine.
    sys.exit(128 + signal.SIGTERM)


def _refuse(message: str) -> NoReturn:
    """Say what vLLM has against its arguments, without all that it would take."""
    raise FlagError(message)


def _has_template(word: str) -> bool:
    """Whether the image has the chat template that a flag names, if it names one."""
    name, _, path = word.partition("=")
    if name != "--chat-template" or not path.startswith("/") or Path(path).exists():
        return True
    log.warning("no such chat template; the tokenizer's counts", extra={"path": path})
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", default=DEFAULTS["model"])
    parser.add_argument("--kaito-config-file", default="")
    parser.add_argument("--kaito-adapters-dir", default="/mnt/adapter")
    parser.add_argument("--kaito-disable-rate-limit", action="store_true")
    return parser
