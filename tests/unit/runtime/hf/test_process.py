import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from pykaito.runtime.hf import main as entry
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.server import listen

from .conftest import EXACT, ROOT
from .lora import factors, write_adapter

Folder = Callable[[str], Path]
MODULE = [sys.executable, "-m", "pykaito.runtime.hf"]
ENDLESS = {"prompt": "a", "max_tokens": 4000, "temperature": 0, "stream": True}
ENDLESS |= {"logit_bias": {"3": -100, "7": -100}}  # never an end token


def environment(tmp: Path, **more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp)} | more


@pytest.fixture
def folder(model_folder: Folder) -> str:
    return f"--pretrained_model_name_or_path={model_folder('phi3')}"


class Process:
    """A server in a process of its own."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self._popen = popen
        self.pid = popen.pid
        self.told: list[dict[str, Any]] = []
        port = self.event("listening")["address"][1]
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def event(self, name: str) -> dict[str, Any]:
        """Read the log until an event."""
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            if line.startswith("{"):
                self.told.append(json.loads(line))
                if self.told[-1]["event"] == name:
                    return self.told[-1]
        raise AssertionError(f"the process ended without {name!r}")

    def wait(self) -> int:
        return self._popen.wait(timeout=60)


@contextmanager
def running(command: Sequence[str], cwd: Path, **env: str) -> Iterator[Process]:
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(cwd, **env),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as popen:
        try:
            process = Process(popen)
            with process.http:
                yield process
        finally:
            # The whole session: `accelerate launch` leaves a child behind.
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)


def failed(*flags: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MODULE, *flags],
        cwd=cwd,
        env=environment(cwd, **env),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_is_served_from_an_image_that_is_mounted(
    tmp_path: Path, model_folder: Folder
) -> None:
    (tmp_path / "image" / "models").parent.mkdir()
    (tmp_path / "image" / "models").symlink_to(model_folder("phi3"))
    image = f"--pretrained_model_name_or_path={tmp_path}/image"
    with running([*MODULE, "--port=0", image], tmp_path) as server:
        server.event("ready")
        (card,) = server.http.get("/v1/models").json()["data"]
        assert card["id"] == "image"


def test_a_server_loads_with_its_port_open_and_drains_on_sigterm(
    tmp_path: Path, folder: str
) -> None:
    with running([*MODULE, "--port=0", folder], tmp_path) as server:
        loading = server.http.get("/health")
        assert (loading.status_code, loading.json()["status"]) == (503, "Loading")
        server.event("ready")
        assert server.http.get("/health").json() == {"status": "Healthy"}
        body = ENDLESS | {"max_tokens": 300}
        with server.http.stream("POST", "/v1/completions", json=body) as reply:
            lines = reply.iter_lines()
            next(lines)
            os.kill(server.pid, signal.SIGTERM)
            server.event("draining")
            health = server.http.get("/health")
            assert (health.status_code, health.json()["status"]) == (503, "Draining")
            refused = server.http.post("/v1/completions", json=body)
            assert refused.status_code == 503
            events = [line for line in lines if line]
        assert events[-1] == "data: [DONE]"
        assert json.loads(events[-2][6:])["choices"][0]["finish_reason"] == "length"
        assert server.wait() == 0


def test_a_reply_does_not_wait_for_the_acknowledgement_of_its_beginning() -> None:
    listener = listen(parse_flags(["--host=127.0.0.1", "--port=0"]))
    with listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_a_host_it_answers_on_ipv4_and_ipv6(address: str) -> None:
    with listen(parse_flags(["--port=0"])) as listener:
        port = listener.getsockname()[1]
        socket.create_connection((address, port), timeout=10).close()


def test_without_ipv6_it_answers_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen(parse_flags(["--port=0"])) as listener:
        assert listener.family == socket.AF_INET


def test_the_command_of_older_workspaces_serves_and_can_be_stopped(
    tmp_path: Path, folder: str
) -> None:
    """What does not end within the drain's time is cut off with an error."""
    shutil.copy(ROOT / "runtime/hf/inference_api.py", tmp_path)
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    command = (
        f"{accelerate} launch --num_processes 1 --num_machines 1 --machine_rank 0 "
        "--gpu_ids all inference_api.py --pipeline text-generation "
        f"--torch_dtype bfloat16 {folder} --port 0 --drain_timeout 0"
    )
    with running(command.split(), tmp_path) as server:
        server.event("ready")
        reply = server.http.post("/chat", json={"prompt": "Hello"})
        assert reply.json()["Result"].startswith("Hello")
        with server.http.stream("POST", "/v1/completions", json=ENDLESS) as stream:
            lines = stream.iter_lines()
            next(lines)
            pid = int((tmp_path / "inference_api.pid").read_text())
            assert pid != server.pid
            os.kill(pid, signal.SIGTERM)
            events = [line for line in lines if line]
        assert "shutting down" in events[-2]
        assert events[-1] == "data: [DONE]"
        assert server.wait() == 0


def test_a_model_that_cannot_be_served_ends_the_process_with_one_line(
    tmp_path: Path,
) -> None:
    flag = "--pretrained_model_name_or_path=/no/model"
    ended = failed(flag, "--port=0", cwd=tmp_path)
    assert ended.returncode == 1
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    wrong = "--pretrained_model_name_or_path: found '/no/model', which is no folder"
    assert said == [f"pykaito.runtime.hf: {wrong} here"]
    assert not list(tmp_path.glob("*.pid"))


def test_a_wrong_flag_ends_the_process_at_once(tmp_path: Path) -> None:
    ended = failed("--torch_dtype=int8", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("pykaito.runtime.hf: --torch_dtype: found 'int8'")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = failed("--host=127.0.0.1", f"--port={port}", cwd=tmp_path)
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr


def test_kubernetes_is_told_why_it_ended(tmp_path: Path) -> None:
    report = tmp_path / "termination-log"
    report.touch()
    assert entry._fail("the model\nis missing", 1, report) == 1
    assert report.read_text() == "pykaito.runtime.hf: the model is missing"


def test_a_machine_without_a_termination_log_gets_none(tmp_path: Path) -> None:
    report = tmp_path / "termination-log"
    entry._fail("the model is missing", 1, report)
    assert not report.exists()


def test_adapters_and_the_users_file_are_taken_from_the_environment(
    tmp_path: Path, folder: str, loaded_model: Callable[[str], LoadedModel]
) -> None:
    name = "model.layers.1.mlp.down_proj"
    base = loaded_model("phi3")
    layer = base.model.get_submodule(name)
    pair = factors(layer.in_features, layer.out_features, scale=0.5)
    adapter = write_adapter(tmp_path / "adapters" / "legal", {name: pair})
    file = tmp_path / "inference_config.yaml"
    file.write_text("vllm: {max-model-len: 100, swap-space: 4}")
    asked = {
        "KAITO_ADAPTERS": json.dumps([{"name": adapter.name, "strength": "0.5"}]),
        "KAITO_CONFIG_FILE": str(file),
    }
    flags = [f"--adapters_dir={adapter.folder.parent}", "--max_model_len=50", EXACT]
    body = {"prompt": "def load", "max_tokens": 20, "temperature": 0, "logprobs": 1}
    with running([*MODULE, "--port=0", folder, *flags], tmp_path, **asked) as server:
        unused = next(one for one in server.told if "keys" in one)
        assert unused["keys"] == ["vllm.swap-space"]
        server.event("ready")
        card, own = server.http.get("/v1/models").json()["data"]
        assert (card["id"], card["max_model_len"]) == ("phi3", 100)
        assert (own["id"], own["parent"]) == ("legal", "phi3")
        answer = server.http.post("/v1/completions", json=body).json()["choices"][0]

    prompt = base.tokenizer("def load", return_tensors="pt").input_ids

    def text() -> str:
        tokens = base.model.generate(prompt, max_new_tokens=20, do_sample=False)
        return base.decode(tokens[0, prompt.shape[1] :].tolist())

    before = layer.weight
    without = text()
    merged = before.detach().float() + 0.5 * 2 * pair[1] @ pair[0]
    try:
        layer.weight = torch.nn.Parameter(merged.to(before.dtype))
        assert answer["text"] == text() != without
    finally:
        layer.weight = before


@pytest.mark.parametrize(
    ("variable", "value", "status", "wrong"),
    [
        ("KAITO_ADAPTERS", '[{"name": "legal"}]', 1, "adapter 'legal': /mnt/adapter/"),
        ("KAITO_ADAPTERS", "[", 2, "KAITO_ADAPTERS: is no JSON"),
        ("KAITO_CONFIG_FILE", "/no/file", 2, "KAITO_CONFIG_FILE: /no/file cannot be"),
    ],
)
def test_a_wrong_environment_ends_the_process_with_one_line(
    tmp_path: Path, folder: str, variable: str, value: str, status: int, wrong: str
) -> None:
    ended = failed("--port=0", folder, cwd=tmp_path, **{variable: value})
    assert ended.returncode == status
    lines = ended.stderr.splitlines()
    assert lines[-1].startswith(f"pykaito.runtime.hf: {wrong}")
    assert not any("importing torch" in line for line in lines)
