"""From a pod's command to vLLM's, or to a sentence that says what is wrong."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack import paths
from pykaito.runtime.hf.adapters import ADAPTERS_VARIABLE
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.presets.catalogue import catalogue
from pykaito.runtime.vllm import main as entry
from pykaito.runtime.vllm.config_file import CONFIG_VARIABLE, read_config_file
from pykaito.runtime.vllm.environment import prepare_environment
from tests.unit.runtime.hf.hub_gate import MODEL, TOKEN, Gate
from tests.unit.runtime.hf.lora import factors, write_adapter

#: Stands for vLLM, which no unit test has: prints what it is told, then serves.
STAND_IN = {
    "uvloop.py": "import asyncio\nrun = asyncio.run\n",
    "vllm/__init__.py": "",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/launchers/__init__.py": "",
    "vllm/entrypoints/launchers/api_server/__init__.py": "",
    "vllm/entrypoints/launchers/api_server/entry.py": """
        import asyncio, contextlib, json, os, signal, time
        from pykaito.runtime.vllm.starting import current
        async def run_server_worker(address, listener, args):
            assert address == "http://here" and listener.fileno() >= 0
            told = vars(args) | {"lora": os.environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]}
            told["offline"] = os.environ.get("HF_HUB_OFFLINE")
            print(json.dumps(told), flush=True)
            if args.model == "broken":
                said = "(Worker pid=3) ERROR [a.py:9] ValueError: heads do not divide"
                os.system(f"echo '{said}' >&2")
                raise RuntimeError("Engine core initialization failed. See root cause")
            if args.model in {"killed", "crashed", "served"}:
                told = asyncio.Event()
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGTERM, told.set)
                await current().finish(lambda: asyncio.sleep(0))
                if args.model == "served":
                    print("served", flush=True)
                    await told.wait()
                if args.model == "crashed":
                    said = "(EngineCore pid=3) ERROR [a.py:9] ValueError: lost a GPU"
                    os.system(f"echo '{said}' >&2")
                return
            if args.model == "odd":
                raise RuntimeError("no such device")
            while args.model == "endless":
                with contextlib.suppress(KeyboardInterrupt):
                    time.sleep(600)
    """,
    "vllm/entrypoints/launchers/launcher.py": """
        import socket
        def setup_server(args, reuse_port):
            spare = socket.socket()
            spare.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
            spare.bind(("", int(args.port)))
            return "http://here", spare
    """,
    "vllm/entrypoints/launchers/cli_args.py": """
        import argparse
        def make_arg_parser(parser):
            for name in ("model", "port", "dtype", "max-model-len", "chat-template",
                         "disable-access-log-for-endpoints", "served-model-name",
                         "revision", "download-dir", "api-key"):
                parser.add_argument(f"--{name}")
            parser.add_argument("--middleware", action="append")
            parser.add_argument("--max-lora-rank", choices=[8])
            parser.add_argument("--enforce-eager", action="store_true")
            return parser
        def validate_parsed_serve_args(args):
            if args.chat_template == "alone":
                raise TypeError("chat-template requires --model")
    """,
    "vllm/entrypoints/serve/__init__.py": "",
    "vllm/entrypoints/serve/utils/__init__.py": "",
    "vllm/entrypoints/serve/utils/api_utils.py": "def cli_env_setup(): pass\n",
    "vllm/logger.py": "def configure_logging_from_args(args): pass\n",
    "vllm/utils/__init__.py": "",
    "vllm/utils/system_utils.py": "def decorate_logs(name, skip_if_decorated): pass\n",
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


@pytest.fixture
def port() -> Iterator[int]:
    """A port that a server may listen on, and that nobody else is given meanwhile."""
    with socket.socket() as kept:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            kept.setsockopt(socket.SOL_SOCKET, option, 1)
        kept.bind(("", 0))
        yield kept.getsockname()[1]


def started(vllm: Path, *flags: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pykaito.runtime.vllm", "--port=0", *flags],
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
        "max_probe_steps: 6\n"
        "vllm: {dtype: float16, enforce-eager: true, api-key: s3cr3t}\n"
    )
    process = started(
        vllm, "--model=m", "--dtype=auto", "--chat-template=/no/such.jinja",
        **{CONFIG_VARIABLE: str(config), "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"},
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told: dict[str, Any] = json.loads(out)
    assert (told["model"], told["dtype"]) == ("m", "float16")
    assert told["enforce_eager"] is True
    assert told["chat_template"] is None
    assert [name.rpartition(".")[2] for name in told["middleware"]] == [
        "HandOver",
        "Description",
        "RateLimit",
        "ActiveHealth",
        "Closed",
        "Failures",
    ]
    assert told["lora"] == "0"
    assert '"keys": ["max_probe_steps"]' in err
    assert (told["api_key"], "s3cr3t" in err) == ("s3cr3t", False)


def test_a_server_that_is_told_to_end_before_it_listens_ends(vllm: Path) -> None:
    """Although vLLM takes no notice of an interrupt while it waits for its engine."""
    process = started(vllm, "--model=endless")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_a_server_that_is_told_to_end_has_not_failed(vllm: Path) -> None:
    process = started(vllm, "--model=served")
    assert process.stdout is not None
    assert "served" in (process.stdout.readline(), process.stdout.readline())[1]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("broken", "pykaito.runtime.vllm: ValueError: heads do not divide"),
        ("odd", "pykaito.runtime.vllm: RuntimeError: no such device"),
        ("crashed", "pykaito.runtime.vllm: ValueError: lost a GPU"),
        ("killed", f"pykaito.runtime.vllm: {entry.SILENT}"),
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
    ("setting", "said"),
    [
        ("max-lora-rank: 9", "argument --max-lora-rank: invalid choice: '9'"),
        ("chat-template: alone", "chat-template requires --model"),
    ],
)
def test_what_vllm_has_against_a_setting_is_the_last_line(
    vllm: Path, tmp_path: Path, setting: str, said: str
) -> None:
    config = tmp_path / "inference_config.yaml"
    config.write_text(f"vllm: {{{setting}}}")
    process = started(vllm, "--model=m", **{CONFIG_VARIABLE: str(config)})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith(f"pykaito.runtime.vllm: {said}")
    assert "usage" not in err


def test_vllm_is_led_to_the_model_in_a_mounted_image(
    vllm: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "image" / "models"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    process = started(vllm, "--model", str(tmp_path / "image"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["model"] == str(folder)


def test_a_folder_without_a_model_is_told_before_vllm_is_imported(
    tmp_path: Path,
) -> None:
    with pytest.raises(LoadError, match=r"^--model: .* config\.json or params\.json"):
        entry.run([f"--model={tmp_path}"], {})
    assert "vllm" not in sys.modules


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


def test_what_is_kept_goes_where_the_pod_has_a_cache() -> None:
    environ = {"KAITO_CACHE_DIR": "/cache"}
    prepare_environment(environ)
    kept = ("HF_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "VLLM_CACHE_ROOT")
    assert all(environ[name].startswith("/cache/") for name in kept)


def test_the_users_environment_stays_but_for_the_adapters_endpoints() -> None:
    environ = {"HF_HOME": "/mine", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}
    prepare_environment(environ)
    assert environ["HF_HOME"] == "/mine"
    assert environ["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert environ["VLLM_NO_USAGE_STATS"] == "1"


def test_connections_are_kept_for_longer_than_clients_keep_them() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ)
    idle = httpx.Limits().keepalive_expiry
    assert idle is not None
    assert int(environ["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) > 2 * idle


def test_how_long_a_model_may_load_is_for_the_pods_probe_to_say() -> None:
    environ: dict[str, str] = {}
    prepare_environment(environ)
    longest = max(preset.readiness_minutes for preset in catalogue().values()) * 60
    assert int(environ["VLLM_ENGINE_READY_TIMEOUT_S"]) > longest


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


def test_another_models_adapter_is_the_last_line(vllm: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = {"model.layers.0.q_proj.weight": torch.zeros(16, 32)}
    save_file(weights, model / "model.safetensors")
    modules = {"model.layers.0.q_proj": factors(16, 16)}
    write_adapter(tmp_path / "adapters" / "law", modules)
    process = started(
        vllm, f"--model={model}", f"--kaito-adapters-dir={tmp_path / 'adapters'}",
        **{ADAPTERS_VARIABLE: '[{"name": "law"}]'},
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "base model's weights there have [16, 32]" in err.splitlines()[-1]


def test_vllm_is_given_the_folder_of_a_hubs_model_and_asks_no_hub(
    vllm: Path, gate: Gate
) -> None:
    cache = vllm / "weights"
    process = started(
        vllm, "--model", MODEL, f"--download-dir={cache}",
        HF_ENDPOINT=gate.url, HF_TOKEN=TOKEN,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    told = json.loads(out)
    folder = Path(told["model"])
    assert folder.is_relative_to(cache)
    assert (folder / "model-00001-of-00002.safetensors").exists()
    assert (told["served_model_name"], told["offline"]) == (MODEL, "1")
    assert TOKEN not in out + err


def test_a_hubs_refusal_is_the_last_line(vllm: Path, gate: Gate) -> None:
    gate.refusal = "GatedRepo"
    process = started(vllm, f"--model={MODEL}", HF_ENDPOINT=gate.url, HF_TOKEN=TOKEN)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "accept them on the model's page" in err.splitlines()[-1]
    assert TOKEN not in out + err


def test_a_download_is_told_of_on_the_port_and_ends_with_the_server(
    vllm: Path, gate: Gate, port: int
) -> None:
    gate.opened.clear()
    process = started(
        vllm, f"--model={MODEL}", f"--port={port}",
        HF_ENDPOINT=gate.url, HF_TOKEN=TOKEN,
    )  # fmt: skip
    asked = retry(
        retry=retry_if_result(lambda said: "downloaded_bytes" not in said),
        stop=stop_after_delay(30),
        wait=wait_fixed(0.05),
    )(lambda: health(port))
    said = asked()
    assert (said["stage"], said["progress"]) == ("downloading the weights", 0)
    assert (said["bytes_per_second"], said["seconds_left"]) == (0, None)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def health(port: int) -> dict[str, Any]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
    except httpx.TransportError:
        return {}
    assert answer.status_code == 503
    said: dict[str, Any] = answer.json()
    return said
