"""What the API server sends is read, however deep somebody nested it."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.operator import frozen, wire
from pykaito.operator.errors import ServerError
from pykaito.operator.frozen import freeze


def nested(depth: int) -> bytes:
    """Return containers in each other, of both kinds, with brackets in texts."""
    return b'[{"a]}":' * (depth // 2) + b'"\\"[{"' + b"}]" * (depth // 2)


def depth_of(value: Any) -> int:
    depth, layer = 0, [value]
    while layer := [v for v in layer if isinstance(v, dict | list)]:
        depth += 1
        layer = [i for v in layer for i in (v.values() if isinstance(v, dict) else v)]
    return depth


#: What the API server takes at most, and what two readers in Python give up at.
DEPTHS = [8, 240, 600, 980, 1030, 10_000]


@pytest.mark.parametrize("depth", DEPTHS)
def test_one_object_nested_too_deep_leaves_the_others_readable(depth: int) -> None:
    body = b'{"items":[{"x":%s,"y":1},{"z":"}"}],"n":2}' % nested(depth)
    found = wire.decode(body)
    assert found["n"] == 2
    assert found["items"][1] == {"z": "}"}
    assert found["items"][0]["y"] == 1
    if depth < 900:
        assert found == orjson.loads(body)
    assert depth_of(found) <= 1024


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_cache_holds_no_more_than_can_be_written_again(depth: int) -> None:
    found = freeze(wire.decode(b'{"x":%s}' % nested(depth)))
    orjson.dumps(found)
    json.dumps(found)
    if depth < frozen.DEEPEST:
        assert found["x"] == orjson.loads(nested(depth))


@pytest.mark.parametrize("body", [b"[[", b"[]", b'{"a"}', b"[" * 2000, b"]" * 2000])
def test_what_is_no_object_is_an_error_of_the_server(body: bytes) -> None:
    with pytest.raises(ServerError):
        wire.decode(body)


@pytest.mark.parametrize(
    "line",
    [b"{}", b'{"type":"ADDED"}', b'{"object":{}}', b'{"type":"ERROR","object":"x"}'],
)
def test_a_line_that_is_no_event_is_an_error_of_the_server(line: bytes) -> None:
    with pytest.raises(ServerError):
        wire.watch_event(line)


plain = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(plain)
def test_nothing_is_cut_from_what_is_not_deep(value: Any) -> None:
    assert b"".join(wire._shallow(orjson.dumps(value))) == orjson.dumps(value)
