"""A few requests to the API server, as the administrator."""

import http.client
import json
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hack.cluster.commands import ClusterError
from hack.cluster.pki import Authority
from hack.cluster.topology import API_PORT, CONTROL_PLANE_ADDRESS

_TIMEOUT = 10.0
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Api:
    """The API server, spoken to with a certificate of group system:masters."""

    authority: Authority

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        pair = self.authority.issue("admin", user="admin", group="system:masters")
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def ready(self) -> bool:
        """Whether the API server answers, and says that it is ready."""
        try:
            status, _ = self._send("GET", "/readyz")
        except OSError:
            return False
        return status == http.HTTPStatus.OK

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, None if there is none."""
        return self._request("GET", path)

    def apply(self, path: str, manifest: dict[str, Any]) -> None:
        """Apply an object on the server's side, taking over all fields it names."""
        self._request(
            "PATCH", f"{path}?fieldManager=hack-cluster&force=true", manifest, _APPLY
        )

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        """Change some fields of an object by a merge patch."""
        self._request("PATCH", path, patch, "application/merge-patch+json")

    def _request(
        self, method: str, path: str, body: Any = None, content_type: str = ""
    ) -> dict[str, Any] | None:
        try:
            status, answer = self._send(method, path, body, content_type)
        except OSError as error:
            raise ClusterError(f"{method} {path}: {error}") from error
        if status == http.HTTPStatus.NOT_FOUND and method == "GET":
            return None
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ClusterError(f"{method} {path}: {status} {answer.decode()}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def _send(
        self, method: str, path: str, body: Any = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            CONTROL_PLANE_ADDRESS, API_PORT, timeout=_TIMEOUT, context=self._tls
        )
        try:
            connection.request(
                method,
                path,
                json.dumps(body) if body is not None else None,
                {"Content-Type": content_type} if content_type else {},
            )
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
