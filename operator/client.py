"""The connection to the API server; the only module that imports kr8s.

kr8s brings the loading of kubeconfigs and in-cluster credentials and the shape of
a request. What an operator cannot live with is replaced here and in session.py: a
session that is closed under running watches, a 403 taken for expired credentials,
requests that wait for ever, untyped errors. A contract test holds the private
names of kr8s that this leans on.
"""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self, final

import httpx
from kr8s._api import Api

from pykaito.operator import wire
from pykaito.operator.credentials import REREAD_SECONDS, BearerToken
from pykaito.operator.errors import error_from_body
from pykaito.operator.session import Session, typed_errors
from pykaito.operator.verbs import Verbs

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

REQUEST_SECONDS = 30.0
"""Limit of one request and its whole answer."""

WATCH_SILENCE_SECONDS = 90.0
"""Longest silence of a watch. The server sends a bookmark about each minute, but
none for a resource that did not change since the server started: such a watch is
renewed at this pace, which costs one small request."""


@final
class _Api(Api):  # type: ignore[misc]  # kr8s publishes no types that strict mode reads
    """kr8s's Api on a Session that is opened once and never replaced."""

    def __init__(self, *, kubeconfig: str, service_account: Path | None) -> None:
        super().__init__(
            bypass_factory=True,
            kubeconfig=kubeconfig,
            serviceaccount=str(service_account or ""),
        )
        self.service_account = service_account
        if service_account is not None:
            # kr8s would prefer a kubeconfig that happens to lie in $HOME.
            self.auth._kubeconfig_path_or_dict = False  # noqa: SLF001 - held by the contract test

    async def open(
        self, *, user_agent: str, request_seconds: float, silence_seconds: float
    ) -> None:
        """Read the credentials and open the session; connections come when needed."""
        await self.auth.reauthenticate()
        tls = await self.auth.ssl_context()
        self._remove_key_files()
        self.session = Session(
            self.auth.server,
            # kr8s returns True for the system's certificates.
            tls=tls
            if isinstance(tls, ssl.SSLContext)
            else ssl.create_default_context(),
            auth=self._bearer_token(),
            user_agent=user_agent,
            proxy=self.auth.proxy,
            request_seconds=request_seconds,
            silence_seconds=silence_seconds,
        )
        self._session = self.session.http

    def own_namespace(self) -> str:
        """Return the namespace of the credentials; kr8s says default for any Pod."""
        if self.service_account is None:
            return str(self.auth.namespace)
        return (self.service_account / "namespace").read_text().strip()

    async def _create_session(self) -> None:
        """Do nothing: kr8s calls this to close the session and open another."""

    def _bearer_token(self) -> BearerToken:
        """Return the source of tokens: a file that is rewritten, or the kubeconfig."""
        file = None
        if self.service_account is not None:
            file = self.service_account / "token"
        elif "tokenFile" in self.auth._user:  # noqa: SLF001 - kr8s ignores this field
            folder = Path(self.auth.kubeconfig.path).parent
            file = folder / self.auth._user["tokenFile"]  # noqa: SLF001 - same
        if file is None:
            return BearerToken(self.auth.token or "", self._read_kubeconfig)
        read_text = file.read_text

        async def read() -> str:
            return read_text().strip()

        return BearerToken(read_text().strip(), read, max_age=REREAD_SECONDS)

    async def _read_kubeconfig(self) -> str:
        await self.auth.reauthenticate()
        self._remove_key_files()
        return self.auth.token or ""

    def _remove_key_files(self) -> None:
        """Remove the files to which kr8s wrote keys that the kubeconfig has inline.

        The TLS context holds them by now, and kr8s itself never removes them.
        """
        user, cluster = self.auth._user, self.auth._cluster  # noqa: SLF001 - held by the contract test
        for source, field, attribute in (
            (user, "client-key-data", "client_key_file"),
            (user, "client-certificate-data", "client_cert_file"),
            (cluster, "certificate-authority-data", "server_ca_file"),
        ):
            if field in source:
                Path(getattr(self.auth, attribute)).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def call_api(
        self,
        method: str = "GET",
        version: str = "v1",
        base: str = "",
        namespace: str | None = None,
        url: str = "",
        raise_for_status: bool = True,
        stream: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and yield its answer, read in full unless `stream`.

        Raises:
            ApiError: the subclass tells what the server, or the network, said.
        """
        if self.auth.tls_server_name:
            kwargs["extensions"] = {"sni_hostname": self.auth.tls_server_name}
        path = self._construct_url(version, base, namespace, url)
        request = self.session.http.build_request(method, path, **kwargs)
        response = await self.session.send(request, stream=stream)
        with typed_errors(request):
            try:
                if raise_for_status and not response.is_success:
                    raise error_from_body(
                        response.status_code,
                        await response.aread(),
                        retry_after=wire.retry_after(response.headers),
                    )
                yield response
            finally:
                await response.aclose()


@final
class Client(Verbs):
    """The API server's verbs over one long-lived session.

    Attributes:
        namespace: the namespace that the credentials belong to, "default" when
            they do not say.
    """

    def __init__(self, api: _Api, namespace: str) -> None:
        super().__init__(api.call_api)
        self._api = api
        self.namespace = namespace

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | Path | None = None,
        user_agent: str = "pykaito",
        request_seconds: float = REQUEST_SECONDS,
        watch_silence_seconds: float = WATCH_SILENCE_SECONDS,
    ) -> Self:
        """Return a client; nothing is sent yet.

        Credentials are looked for in this order: `kubeconfig`, the `KUBECONFIG`
        environment variable, the Pod's service account, `~/.kube/config`. A token
        from a file is read again each minute, any other after a 401.

        Raises:
            ValueError: there are no credentials, or they make no sense.
        """
        api = _located(str(kubeconfig or ""))
        await api.open(
            user_agent=user_agent,
            request_seconds=request_seconds,
            silence_seconds=watch_silence_seconds,
        )
        return cls(api, api.own_namespace())

    def unelected(self) -> Verbs:
        """Return the verbs on the same session, for what every replica may write."""
        return Verbs(self._api.call_api)

    async def close(self) -> None:
        """Close all connections; watches that still run fail with TransportError."""
        await self._api.session.close()


def _located(kubeconfig: str) -> _Api:
    """Return the Api for the first credentials found, in the order of `connect`."""
    paths = kubeconfig or os.environ.get("KUBECONFIG", "")
    if not paths and (SERVICE_ACCOUNT / "token").exists():
        return _Api(kubeconfig="", service_account=SERVICE_ACCOUNT)
    paths = paths or "~/.kube/config"
    files = [Path(path).expanduser() for path in paths.split(":") if path]
    if not any(file.is_file() for file in files):
        raise ValueError(
            f"no kubeconfig at {paths}, and this is no Pod with a service account;"
            " pass a kubeconfig or set KUBECONFIG"
        )
    return _Api(kubeconfig=":".join(map(str, files)), service_account=None)
