"""The command line: KAITO's flags with KAITO's names, and the server's limits.

Hyphens and underscores are the same, and a flag that switches something may
stand alone (``--load_in_4bit``) or carry a value (``--load_in_4bit=false``).
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pykaito.runtime.hf.errors import nearest

PIPELINES = ("text-generation", "conversational")
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server was started with. The field names are the flags'."""

    pretrained_model_name_or_path: str
    allow_remote_files: bool
    pipeline: str
    torch_dtype: str
    served_model_name: str
    max_model_len: int | None
    chat_template: str | None
    trust_remote_code: bool
    revision: str | None
    load_in_4bit: bool
    load_in_8bit: bool
    host: str
    port: int
    max_num_seqs: int
    kv_cache_memory_bytes: int | None
    max_queue: int
    max_request_bytes: int
    request_timeout: float
    drain_timeout: float
    adapters_dir: str


class FlagError(Exception):
    """A flag is wrong; the message names it, what was found, what is right."""


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is an exception and not the end of the process."""

    def error(self, message: str) -> NoReturn:
        raise FlagError(message.removeprefix("argument "))


def parse_flags(argv: Sequence[str]) -> Settings:
    """Read the flags.

    Raises:
        FlagError: if one is unknown or its value is wrong.
    """
    parser = _build_parser()
    arguments = [_with_underscores(argument) for argument in argv]
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].partition("=")[0]
        raise FlagError(f"{name}: unknown flag{nearest(name, _flag_names(parser))}")
    values = vars(found)
    if values["load_in_4bit"] and values["load_in_8bit"]:
        raise FlagError("--load_in_4bit, --load_in_8bit: found both, give one")
    if not values["served_model_name"]:
        path = values["pretrained_model_name_or_path"]
        values["served_model_name"] = Path(path).name.lower()
    return Settings(**values)


def _flag_names(parser: argparse.ArgumentParser) -> list[str]:
    actions = parser._actions  # noqa: SLF001 - argparse has no other list of its flags
    return [name for action in actions for name in action.option_strings]


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m pykaito.runtime.hf",
        description="Serve one model over /chat and OpenAI-compatible endpoints.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("model").add_argument

    def switch(name: str, text: str) -> None:
        add(name, nargs="?", const=True, default=False, type=_switch, help=text)

    path = "/workspace/weights"
    text = "folder of the model, or its id on the Hugging Face hub"
    add("--pretrained_model_name_or_path", default=path, help=text, type=_text)
    text = "let files missing here be fetched from the hub"
    switch("--allow_remote_files", text)
    text = "commit, tag or branch on the hub"
    add("--revision", help=text, type=_text)
    text = "run Python code that comes with the model"
    switch("--trust_remote_code", text)
    text = "type of the weights in memory; auto: as they are stored"
    add("--torch_dtype", default="auto", help=text, type=_one_of(DTYPES))
    text = "quantise to 4 bits while loading (bitsandbytes, needs a GPU)"
    switch("--load_in_4bit", text)
    text = "quantise to 8 bits while loading (bitsandbytes, needs a GPU)"
    switch("--load_in_8bit", text)
    text = "most tokens of prompt and answer together; at most the model's own"
    add("--max_model_len", help=text, type=_number(int, 1))
    text = "folder with a folder per LoRA adapter that KAITO_ADAPTERS names"
    add("--adapters_dir", default="/mnt/adapter", help=text, type=_text)
    text = "file with a Jinja chat template, instead of the tokenizer's"
    add("--chat_template", help=text, type=_file_content)

    add_api = parser.add_argument_group("API").add_argument
    text = "conversational: the prompt of /chat is one message of a user"
    add_api("--pipeline", default=PIPELINES[0], help=text, type=_one_of(PIPELINES))
    text = "name clients use; the last part of the path if not given"
    add_api("--served_model_name", help=text, type=_text)
    text = "address to listen on; all of the machine's if not given"
    add_api("--host", default="", help=text)
    add_api(
        "--port", default=5000, help="port to listen on", type=_number(int, 0, 65535)
    )

    add_limit = parser.add_argument_group("limits").add_argument
    text = "sequences that are generated at once, as one batch"
    add_limit("--max_num_seqs", default=64, help=text, type=_number(int, 1, 512))
    text = "memory for their keys and values; a share of what is free if not given"
    add_limit("--kv_cache_memory_bytes", help=text, type=_number(int, 1))
    text = "requests that may wait for their turn; more are answered 429"
    add_limit("--max_queue", default=64, help=text, type=_number(int, 0))
    text = "largest body of a request; more is answered 413"
    add_limit(
        "--max_request_bytes", default=4 << 20, help=text, type=_number(int, 1024)
    )
    text = "seconds a request may take, waiting included; then it is answered 504"
    add_limit("--request_timeout", default=600.0, help=text, type=_number(float, 0.001))
    text = "seconds that running requests get to end after SIGTERM"
    add_limit("--drain_timeout", default=60.0, help=text, type=_number(float, 0))
    return parser


def _with_underscores(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _switch(value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"found {value!r}, must be true or false")
    return value.lower() == "true"


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("found an empty value")
    return value


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value not in choices:
            right = ", ".join(choices)
            raise argparse.ArgumentTypeError(f"found {value!r}, must be one of {right}")
        return value

    return convert


def _number(
    kind: type[int] | type[float], least: float, most: float = math.inf
) -> Callable[[str], float]:
    what = "a whole number" if kind is int else "a number"
    bounds = f"of {least} or more" if most == math.inf else f"from {least} to {most}"

    def convert(value: str) -> float:
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not least <= number <= most or number == math.inf:
            wrong = f"found {value!r}, must be {what} {bounds}"
            raise argparse.ArgumentTypeError(wrong)
        return number

    return convert


def _file_content(value: str) -> str:
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        wrong = f"found {value!r}, must be a readable text file ({error})"
        raise argparse.ArgumentTypeError(wrong) from error
