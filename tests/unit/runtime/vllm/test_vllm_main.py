"""From a pod's command to vLLM's, or to a sentence that says what is wrong."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from hack import paths
from pykaito.runtime.hf.adapters import ADAPTERS_VARIABLE
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm import main as entry
from pykaito.runtime.vllm.config_file import CONFIG_VARIABLE, read_config_file
from pykaito.runtime.vllm.environment import prepare_environment

#: Stands for vLLM, which no unit test has: prints what it is told, then serves.
STAND_IN = {
    "uvloop.py": "import asyncio\nrun = asyncio.run\n",
    "vllm/__init__.py": "",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/launchers/__init__.py": "",
    "vllm/entrypoints/launchers/api_server/__init__.py": "",
    "vllm/entrypoints/launchers/api_server/entry.py": """
        import asyncio, json, os
        async def run_server(args):
            told = vars(args) | {"lora": os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]}
            print(json.dumps(told), flush=True)
            if args.model == "broken":
                said = "(Worker pid=3) ERROR [a.py:9] ValueError: heads do not divide"
                os.system(f"echo '{said}' >&2")
                raise RuntimeError("Engine core initialization failed. See root cause")
            if args.model == "odd":
                raise RuntimeError("no such device")
            await asyncio.sleep(600 if args.model == "endless" else 0)
    """,
    "vllm/entrypoints/launchers/cli_args.py": """
        import argparse
        def make_arg_parser(parser):
            for name in ("model", "port", "dtype", "max-model-len", "chat-template",
                         "disable-access-log-for-endpoints"):
                parser.add_argument(f"--{name}")
            parser.add_argument("--middleware", action="append")
            parser.add_argument("--max-lora-rank", choices=[8])
            parser.add_argument("--enforce-eager", action="store_true")
            return parser
        def validate_parsed_serve_args(args):
            pass
    """,
    "vllm/entrypoints/serve/__init__.py": "",
    "vllm/entrypoints/serve/utils/__init__.py": "",
    "vllm/entrypoints/serve/utils/api_utils.py": "def cli_env_setup(): pass\n",
    "vllm/logger.py": "def configure_logging_from_args(args): pass\n",
    "vllm/utils/__init__.py": "",
    "vllm/utils/argparse_utils.py": """
        from argparse import ArgumentParser as FlexibleArgumentParser
    """,
}


@pytest.fixture
def vllm(tmp_path: Path) -> Path:
    for name, text in STAND_IN.items():
        file = tmp_path / "lib" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return tmp_path / "lib"


def started(vllm: Path, *flags: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pykaito.runtime.vllm", *flags],
        env={"PYTHONPATH": f"{paths.ROOT}:{vllm}", "TMPDIR": str(vllm), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_vllm_gets_the_command_the_file_and_the_middleware(
    vllm: Path, tmp_path: Path
) -> None:
    config = tmp_path / "inference_config.yaml"
    config.write_text(
        "max_probe_steps: 6\nvllm: {dtype: float16, enforce-eager: true}\n"
    )
    process = started(
        vllm, "--model=m", "--dtype=auto", "--chat-template=/no/such.jinja",
        **{CONFIG_VARIABLE: str(config), "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"},
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told: dict[str, Any] = json.loads(out)
    assert (told["model"], told["dtype"], told["port"]) == ("m", "float16", "5000")
    assert told["enforce_eager"] is True
    assert told["chat_template"] is None
    assert [name.rpartition(".")[2] for name in told["middleware"]] == [
        "Description",
        "RateLimit",
        "ActiveHealth",
    ]
    assert told["lora"] == "0"
    assert '"keys": ["max_probe_steps"]' in err


def test_a_server_that_is_told_to_end_before_it_listens_ends(vllm: Path) -> None:
    process = started(vllm, "--model=endless")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("broken", "pykaito.runtime.vllm: ValueError: heads do not divide"),
        ("odd", "pykaito.runtime.vllm: RuntimeError: no such device"),
    ],
)
def test_the_last_line_is_what_the_engine_said(
    vllm: Path, model: str, said: str
) -> None:
    process = started(vllm, f"--model={model}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1] == said


@pytest.mark.parametrize(
    ("environ", "status", "said"),
    [
        ({CONFIG_VARIABLE: "/no/file"}, 2, "/no/file cannot be read"),
        ({ADAPTERS_VARIABLE: "{"}, 2, "KAITO_ADAPTERS: is no JSON"),
        ({ADAPTERS_VARIABLE: '[{"name": "law"}]'}, 1, "holds no adapter_config.json"),
    ],
)
def test_what_is_wrong_is_the_last_line(
    vllm: Path, environ: dict[str, str], status: int, said: str
) -> None:
    process = started(vllm, "--model=m", **environ)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert said in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vllm: [1", "is no YAML"),
        ("- 1", "the file: found"),
        ("vllm: [1]", "vllm: found"),
    ],
)
def test_a_file_that_holds_no_settings_is_named(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "inference_config.yaml"
    file.write_text(text)
    with pytest.raises(FlagError, match=said):
        read_config_file(file)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert read_config_file(tmp_path / "empty").options == {}


def test_the_users_environment_stays_but_for_the_adapters_endpoints() -> None:
    environ = {"HF_HOME": "/mine", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}
    prepare_environment(environ)
    assert environ["HF_HOME"] == "/mine"
    assert environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert environ["VLLM_NO_USAGE_STATS"] == "1"


def test_the_reason_is_left_where_kubernetes_looks(tmp_path: Path) -> None:
    report = tmp_path / "termination-log"
    report.touch()
    assert entry.fail("two\nlines", 1, report) == 1
    assert report.read_text() == "pykaito.runtime.vllm: two lines"


def test_adapters_are_checked_before_vllm_is_imported(tmp_path: Path) -> None:
    environ = {ADAPTERS_VARIABLE: '[{"name": "law"}]'}
    with pytest.raises(LoadError, match="'law'"):
        entry.run([f"--kaito-adapters-dir={tmp_path}"], environ)
    assert "vllm" not in sys.modules
