"""What a redirect leads to is looked at before it is followed."""

import time

import httpx
import pytest

from pykaito.reconcilers.hub.web import WebError, get, new_client, parameters


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


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example:99999/x",
        "https://xn--a.com/x",
        "https://_:_/x",
        "https://[:::::]/x",
        "https:///x",
    ],
)
async def test_an_address_that_is_none_is_told(url: str) -> None:
    async with new_client() as session:
        with pytest.raises(WebError):
            await get(session, url, limit=10)
    async with client({"https://a.example/x": moved(url)}) as session:
        with pytest.raises((WebError, KeyError)):
            await get(session, "https://a.example/x", limit=10)


def test_a_challenge_is_read() -> None:
    told = parameters('Bearer realm="https://a/token",service="a b", scope=""')
    assert told == {"realm": "https://a/token", "service": "a b", "scope": ""}


def test_a_long_challenge_takes_no_longer_than_reading_it() -> None:
    """As long as a header may be; in time that grows with its square it is minutes."""
    began = time.process_time()
    assert parameters("Bearer " + "a" * 100_000) == {}
    assert parameters('Bearer a="' * 10_000)
    assert time.process_time() - began < 3
