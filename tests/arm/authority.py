"""Tokens: what Microsoft Entra ID and a machine's metadata service give out."""

import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from tests.arm.refusals import Answer

LIFETIME_SECONDS = 86_400
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Authority:
    """Exchanges a service account's token, or nothing at all, for an access token.

    Attributes:
        federated: the service account's token that it trusts.
        identity: whether the machine has a managed identity.
        given: every access token that was given out.
    """

    def __init__(self) -> None:
        self.federated = f"eyJhbGciOiJub25lIn0.{secrets.token_urlsafe(24)}.c2ln"
        self.identity = True
        self.given: list[str] = []
        self._valid: set[str] = set()

    def knows(self, token: str) -> bool:
        return token in self._valid

    def revoke(self) -> None:
        """Let no token that was given out be valid any more."""
        self._valid.clear()

    def exchange(self, tenant: str, form: bytes) -> Answer:
        """Answer a request for a token by a signed assertion (RFC 7523)."""
        fields = {k: v[0] for k, v in parse_qs(form.decode()).items()}
        proof = fields.get("client_assertion_type"), fields.get("client_assertion")
        if tenant != TENANT:
            return _denied("invalid_request", f"AADSTS90002: no tenant {tenant!r}")
        if fields.get("grant_type") != "client_credentials":
            return _denied("unsupported_grant_type", "AADSTS70003: the grant type")
        if fields.get("client_id") != CLIENT:
            return _denied("unauthorized_client", "AADSTS700016: no such application")
        if proof != (_ASSERTION, self.federated):
            return _denied("invalid_client", "AADSTS70021: no federated identity fits")
        if not fields.get("scope", "").endswith("/.default"):
            return _denied("invalid_scope", "AADSTS1002012: the scope is not valid")
        return Answer(body=self._token())

    def metadata(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Answer as the Instance Metadata Service of a machine."""
        if headers.get("Metadata") != "true" or not query.get("resource"):
            return _denied("invalid_request", "the header Metadata is missing")
        if not self.identity:
            return _denied("invalid_request", "Identity not found")
        return Answer(body={**self._token(), "resource": query["resource"]})

    def _token(self) -> dict[str, object]:
        token = f"eyJ0eXAiOiJKV1QifQ.{secrets.token_urlsafe(24)}.c2ln"
        self.given.append(token)
        self._valid.add(token)
        return {
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }


def _denied(error: str, description: str) -> Answer:
    status = 401 if error == "invalid_client" else 400
    return Answer(status, {"error": error, "error_description": description})
