"""Where credentials come from, and how they are renewed."""

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pykaito.operator import client as client_module
from pykaito.operator.client import Client
from pykaito.operator.credentials import READ_SECONDS, BearerToken
from pykaito.operator.errors import TransportError, UnauthorizedError
from pykaito.operator.objects import NODES
from tests.unit.operator.api_server import (
    Answer,
    ApiServer,
    certificate,
    kubeconfig,
    serve,
)

NODE = "/api/v1/nodes/n"


class Pod:
    """The files that a Pod has of its service account, and the server they fit."""

    def __init__(self, folder: Path, server: ApiServer) -> None:
        self.folder = folder
        self.server = server

    def write_token(self, token: str) -> None:
        (self.folder / "token").write_text(token + "\n")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serve() as running:
        yield running


@pytest.fixture
async def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pod]:
    """Pretend to run in a Pod, with an API server that speaks TLS."""
    cert, key = certificate()
    (tmp_path / "ca.crt").write_bytes(cert)
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "namespace").write_text("mine\n")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    async with serve(tls) as server:
        host, _, port = server.url.removeprefix("https://").partition(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setattr(client_module, "SERVICE_ACCOUNT", tmp_path)
        pod = Pod(tmp_path, server)
        pod.write_token("first")
        yield pod


def bearer(token: str) -> Answer:
    return Answer({"kind": "Node"}, only_for=f"Bearer {token}")


async def test_in_a_pod_the_service_account_is_used(pod: Pod) -> None:
    pod.server.on("GET", NODE, bearer("first"))
    client = await Client.connect()
    assert client.namespace == "mine"
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


async def test_a_server_that_another_authority_vouches_for_gets_no_token(
    pod: Pod,
) -> None:
    (pod.folder / "ca.crt").write_bytes(certificate()[0])
    client = await Client.connect()
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        await client.get(NODES, "n")
    assert pod.server.received == []
    await client.close()


async def test_a_kubeconfig_in_the_home_of_a_pod_is_not_preferred(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = pod.folder / "home"
    (home / ".kube").mkdir(parents=True)
    kubeconfig(home / ".kube", "http://127.0.0.1:1").rename(home / ".kube/config")
    monkeypatch.setenv("HOME", str(home))
    pod.server.on("GET", NODE, bearer("first"))
    client = await Client.connect()
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


async def test_a_refused_token_is_read_again_once(pod: Pod) -> None:
    client = await Client.connect()
    pod.write_token("second")
    pod.server.on("GET", NODE, bearer("second"))
    assert await client.get(NODES, "n") == {"kind": "Node"}
    assert [r.headers["Authorization"] for r in pod.server.received] == [
        "Bearer first",
        "Bearer second",
    ]
    await client.close()


async def test_a_token_that_stays_refused_is_sent_once(pod: Pod) -> None:
    client = await Client.connect()
    pod.server.on("GET", NODE, bearer("other"))
    with pytest.raises(UnauthorizedError):
        await client.get(NODES, "n")
    assert len(pod.server.received) == 1
    await client.close()


async def test_a_new_token_that_is_refused_too_ends_it(pod: Pod) -> None:
    client = await Client.connect()
    pod.write_token("second")
    pod.server.on("GET", NODE, bearer("third"))
    with pytest.raises(UnauthorizedError):
        await client.get(NODES, "n")
    assert len(pod.server.received) == 2
    await client.close()


async def test_the_kubeconfig_given_is_used_before_the_environments(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    server.on("GET", NODE, bearer("t0k3n"))
    client = await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


async def test_the_environment_names_a_kubeconfig_and_some_may_be_missing(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kubeconfig(tmp_path, server.url)
    monkeypatch.setenv("KUBECONFIG", f"{path}:{tmp_path / 'missing'}")
    server.on("GET", NODE, bearer("t0k3n"))
    client = await Client.connect()
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


async def test_no_credentials_at_all_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="pass a kubeconfig or set KUBECONFIG"):
        await Client.connect(kubeconfig=tmp_path / "missing")


async def test_the_token_file_of_a_kubeconfig_is_read(
    server: ApiServer, tmp_path: Path
) -> None:
    (tmp_path / "my-token").write_text("from-file\n")
    server.on("GET", NODE, bearer("from-file"))
    client = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, server.url, user={"tokenFile": "my-token"})
    )
    assert await client.get(NODES, "n") == {"kind": "Node"}
    await client.close()


async def test_the_exec_plugin_of_a_kubeconfig_is_asked_again_after_a_401(
    server: ApiServer, tmp_path: Path
) -> None:
    credential = tmp_path / "credential"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [str(credential)],
    }
    credential.write_text('{"status": {"token": "first"}}')
    client = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, server.url, user={"exec": plugin})
    )
    credential.write_text('{"status": {"token": "second"}}')
    server.on("GET", NODE, bearer("second"))
    assert await client.get(NODES, "n") == {"kind": "Node"}
    assert len(server.received) == 2
    await client.close()


async def test_an_exec_plugin_that_fails_leaves_the_servers_401_to_tell(
    server: ApiServer, tmp_path: Path
) -> None:
    credential = tmp_path / "credential"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [str(credential)],
    }
    credential.write_text('{"status": {"token": "first"}}')
    client = await Client.connect(
        kubeconfig=kubeconfig(tmp_path, server.url, user={"exec": plugin})
    )
    credential.write_text("not JSON")
    server.on("GET", NODE, bearer("second"))
    with pytest.raises(UnauthorizedError):
        await client.get(NODES, "n")
    await client.close()


async def test_inline_keys_leave_no_files_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    cert, key = certificate()
    user = {"client-certificate-data": inline(cert), "client-key-data": inline(key)}
    (tmp_path / "cert").write_bytes(cert)
    (tmp_path / "key").write_bytes(key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(tmp_path / "cert")
    async with serve(tls) as server:
        config = kubeconfig(
            tmp_path,
            server.url,
            user=user,
            cluster={"certificate-authority-data": inline(cert)},
        )
        client = await Client.connect(kubeconfig=config)
        assert list(scratch.iterdir()) == []
        server.on("GET", NODE, Answer({"kind": "Node"}))
        assert await client.get(NODES, "n") == {"kind": "Node"}
        assert "Authorization" not in server.received[0].headers
        await client.close()


class Tokens:
    """Hands out one token after the other, and counts."""

    def __init__(self, *tokens: Any) -> None:
        self.left = list(tokens)
        self.now = 0.0

    async def read(self) -> str:
        token = self.left.pop(0)
        if isinstance(token, Exception):
            raise token
        return str(token)


async def signed(bearer: BearerToken) -> str:
    """Return the header that the next request is sent with."""
    import httpx  # noqa: PLC0415 - only here

    flow = bearer.async_auth_flow(httpx.Request("GET", "http://x"))
    request = await anext(flow)
    await flow.aclose()
    return request.headers["Authorization"]


async def test_a_token_from_a_file_is_read_again_each_minute() -> None:
    tokens = Tokens("second", "third")
    bearer = BearerToken("first", tokens.read, max_age=60, monotonic=lambda: tokens.now)
    seen = []
    for tokens.now in (0.0, 59.9, 60.0, 100.0, 120.0):
        seen.append(await signed(bearer))
    assert seen == ["Bearer first"] * 2 + ["Bearer second"] * 2 + ["Bearer third"]


async def test_a_token_file_that_cannot_be_read_leaves_the_old_token() -> None:
    tokens = Tokens(OSError("gone"), "second")
    bearer = BearerToken("first", tokens.read, max_age=60, monotonic=lambda: tokens.now)
    tokens.now = 60.0
    assert await signed(bearer) == "Bearer first"
    tokens.now = 120.0
    assert await signed(bearer) == "Bearer second"


@pytest.mark.virtual_time
async def test_a_plugin_that_never_answers_holds_no_request_for_ever() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    bearer = BearerToken("first", hang, max_age=0)
    began = asyncio.get_running_loop().time()
    assert await signed(bearer) == "Bearer first"
    assert asyncio.get_running_loop().time() - began == pytest.approx(READ_SECONDS)
