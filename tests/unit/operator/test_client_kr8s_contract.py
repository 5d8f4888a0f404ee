"""The private names of kr8s that the client leans on, held to their meaning."""

import inspect
from pathlib import Path

from kr8s._api import Api
from kr8s._auth import KubeAuth

from pykaito.operator.client import _Api
from tests.unit.operator.api_server import kubeconfig


async def made(tmp_path: Path) -> Api:
    config = kubeconfig(
        tmp_path,
        "https://host:6443/prefix",
        user={"token": "t", "tokenFile": "file"},
        cluster={"proxy-url": "http://proxy:1", "tls-server-name": "other"},
    )
    api = Api(bypass_factory=True, kubeconfig=str(config), serviceaccount="")
    await api.auth.reauthenticate()
    return api


async def test_an_api_is_made_without_asking_the_server(tmp_path: Path) -> None:
    api = await made(tmp_path)
    assert isinstance(api.auth, KubeAuth)
    assert api._session is None


async def test_the_loaded_credentials_have_the_names_that_the_client_reads(
    tmp_path: Path,
) -> None:
    auth = (await made(tmp_path)).auth
    assert auth.server == "https://host:6443/prefix"
    assert auth.token == "t"
    assert auth.namespace == "home"
    assert auth.proxy == "http://proxy:1"
    assert auth.tls_server_name == "other"
    assert auth._user["tokenFile"] == "file"
    assert auth._cluster["proxy-url"] == "http://proxy:1"
    assert str(auth.kubeconfig.path) == str(tmp_path / "kubeconfig")
    assert await auth.ssl_context() is True


async def test_a_url_is_made_of_version_namespace_and_the_rest(tmp_path: Path) -> None:
    api = await made(tmp_path)
    assert api._construct_url("v1", "", None, "nodes/n") == "/api/v1/nodes/n"
    url = api._construct_url("apps/v1", "", "ns", "deployments/d/status")
    assert url == "/apis/apps/v1/namespaces/ns/deployments/d/status"


def test_a_false_kubeconfig_path_leaves_only_the_service_account() -> None:
    auth = KubeAuth(serviceaccount="/x")
    assert auth._kubeconfig_path_or_dict
    assert "_kubeconfig_path_or_dict is not False" in inspect.getsource(
        KubeAuth.reauthenticate
    )


def test_what_is_overridden_is_there_and_takes_the_same() -> None:
    ours = inspect.signature(_Api.call_api).parameters
    theirs = inspect.signature(Api.call_api).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]
    assert inspect.iscoroutinefunction(Api._create_session)


async def test_kr8ss_own_calls_go_through_the_session_that_stays(
    tmp_path: Path,
) -> None:
    api = _Api(kubeconfig=str(kubeconfig(tmp_path, "http://h")), service_account=None)
    await api.open(user_agent="x", request_seconds=1, silence_seconds=1)
    session = api._session
    assert session is api.session.http
    await api._create_session()
    assert api._session is session
    assert not session.is_closed
    await api.session.close()
