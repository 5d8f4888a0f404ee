"""What a redirect leads to is looked at before it is followed."""

import httpx
import pytest

from pykaito.reconcilers.hub.web import WebError, get, new_client


def client(answers: dict[str, httpx.Response]) -> httpx.AsyncClient:
    return new_client(httpx.MockTransport(lambda request: answers[str(request.url)]))


def moved(location: str) -> httpx.Response:
    return httpx.Response(307, headers={"Location": location})


async def test_a_redirect_is_followed() -> None:
    answers = {
        "https://a.example/x": moved("https://b.example/y"),
        "https://b.example/y": httpx.Response(200, stream=httpx.ByteStream(b"here")),
    }
    async with client(answers) as session:
        answer = await get(session, "https://a.example/x", limit=10)
    assert answer.body == b"here"


@pytest.mark.parametrize("location", ["http://a.example/x", "file:///etc/passwd"])
async def test_a_redirect_out_of_tls_is_refused(location: str) -> None:
    async with client({"https://a.example/x": moved(location)}) as session:
        with pytest.raises(WebError, match="a redirect from https to"):
            await get(session, "https://a.example/x", limit=10)


async def test_a_token_stays_with_the_server_that_gave_it() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("Authorization"))
        if request.url.host == "a.example":
            return moved("https://cdn.example/y")
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    async with new_client(httpx.MockTransport(answer)) as session:
        headers = {"Authorization": "Bearer x"}
        await get(session, "https://a.example/x", limit=10, headers=headers)
    assert sent == ["Bearer x", None]
