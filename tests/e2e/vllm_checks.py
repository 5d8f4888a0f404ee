"""What schemathesis checks of vLLM besides what it checks of every server."""

from typing import Any

import schemathesis

from tests.schemathesis_checks import a_stream_has_an_end, every_reply_is_counted

__all__ = ["a_stream_has_an_end", "every_reply_is_counted"]

SERVER_ERROR = 500


def is_known_to_fail(body: Any) -> bool:
    """Whether vLLM 0.32 may answer such a body 500; it serves the others meanwhile.

    - ``structured_outputs`` that is no object is read as one.
    - A grammar or JSON schema that cannot be compiled, or that leaves no token of
      ``allowed_token_ids``, ends the request as if the engine had failed.
    - A ``top_k`` beyond 64 bits does not fit into the message to the engine.
    """
    if not isinstance(body, dict):
        return False
    if body.get("structured_outputs") is not None:
        return True
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") != "text":
        return True
    top_k = body.get("top_k")
    return isinstance(top_k, int | float) and not -(2**63) <= top_k < 2**63


@schemathesis.check
def only_known_bodies_make_it_fail(
    ctx: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case,
) -> None:
    """Hold vLLM to refuse what it cannot serve, apart from what is known."""
    del ctx
    if response.status_code >= SERVER_ERROR:
        assert response.status_code == SERVER_ERROR, response.text
        assert is_known_to_fail(case.body), response.text
