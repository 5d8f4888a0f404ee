"""AdmissionReviews as bytes: what is understood, and what is answered."""

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.operator.admission import (
    MAX_WARNING,
    MAX_WARNINGS,
    AdmissionResponse,
    Cause,
    MalformedReviewError,
    allow,
    parse_review,
    printable,
    refuse,
    render_review,
)


def review(**changes: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "uid": "705ab4f5",
        "kind": {"group": "kaito.sh", "version": "v1beta1", "kind": "Workspace"},
        "operation": "CREATE",
        "name": "falcon",
        "namespace": "default",
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"kind": "Workspace"},
        "oldObject": None,
        "dryRun": True,
    }
    request |= changes
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request,
    }


def rendered(response: AdmissionResponse) -> dict[str, Any]:
    request = parse_review(orjson.dumps(review(uid="u")))
    body = json.loads(render_review(request, response))
    assert body["kind"] == "AdmissionReview"
    assert body["apiVersion"] == "admission.k8s.io/v1"
    answer: dict[str, Any] = body["response"]
    assert answer.pop("uid") == "u"
    return answer


def test_a_review_of_a_deep_object_is_read() -> None:
    body = orjson.dumps(review(object={"a": "DEEP"}))
    deep = body.replace(b'"DEEP"', b'{"a":' * 9000 + b"1" + b"}" * 9000)
    assert parse_review(deep).object


def test_a_review_is_read() -> None:
    request = parse_review(orjson.dumps(review()))
    assert (request.uid, request.operation) == ("705ab4f5", "CREATE")
    assert (request.group, request.kind) == ("kaito.sh", "Workspace")
    assert (request.namespace, request.name) == ("default", "falcon")
    assert request.username == "admin"
    assert request.object == {"kind": "Workspace"}
    assert request.old_object is None
    assert request.dry_run


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"null", "the body: found None"),
        (b"[]", "the body: found"),
        (b"{}", "apiVersion: found None"),
        (orjson.dumps(review() | {"apiVersion": "admission.k8s.io/v1beta1"}), "v1beta"),
        (orjson.dumps(review() | {"kind": "Pod"}), "kind: found 'Pod'"),
        (orjson.dumps(review() | {"request": None}), "request: found None"),
        (orjson.dumps(review(uid="")), "request.uid"),
        (orjson.dumps(review(uid=7)), "request.uid: found 7"),
        (orjson.dumps(review(operation="PATCH")), "CREATE, UPDATE, DELETE, CONNECT"),
        (orjson.dumps(review(operation=["CREATE"])), "request.operation"),
        (orjson.dumps(review(kind="Workspace")), "request.kind: found 'Workspace'"),
        (orjson.dumps(review(object=[1])), "request.object: found [1]"),
        (orjson.dumps(review(oldObject="x")), "request.oldObject"),
        (orjson.dumps(review(userInfo=3)), "request.userInfo"),
        (orjson.dumps(review(namespace={})), "request.namespace"),
    ],
)
def test_what_is_no_review_is_refused_by_what_is_wrong(body: bytes, named: str) -> None:
    with pytest.raises(MalformedReviewError) as caught:
        parse_review(body)
    assert named in str(caught.value)


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(MalformedReviewError) as caught:
        parse_review(orjson.dumps(review(uid=["x" * 10_000])))
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=8,
)


@given(
    fields=st.dictionaries(st.sampled_from(sorted(review()["request"])), JSON),
    whole=st.booleans(),
)
def test_any_review_is_read_or_refused(fields: dict[str, Any], whole: bool) -> None:
    body = orjson.dumps(review(**fields) if whole else fields)
    with contextlib.suppress(MalformedReviewError):
        assert parse_review(body).uid


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(MalformedReviewError):
        parse_review(body)


def test_what_is_admitted_carries_no_status() -> None:
    assert rendered(allow()) == {"allowed": True}
    assert rendered(allow(["careful"])) == {"allowed": True, "warnings": ["careful"]}


def test_a_refusal_reads_as_the_api_servers_own() -> None:
    request = parse_review(orjson.dumps(review()))
    one = Cause("inference.preset.name", "no such model")
    other = Cause("resource.count", "must be 1")
    answer = rendered(refuse(request, [one]))
    assert answer["status"]["message"] == (
        'Workspace.kaito.sh "falcon" is invalid: inference.preset.name: no such model'
    )
    assert (answer["status"]["code"], answer["status"]["reason"]) == (422, "Invalid")
    both = rendered(refuse(request, [one, other]))["status"]
    named = {"group": "kaito.sh", "kind": "Workspace", "name": "falcon"}
    assert named.items() <= both["details"].items()
    assert both["message"].endswith(
        "is invalid: [inference.preset.name: no such model, resource.count: must be 1]"
    )
    assert both["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "field": "inference.preset.name",
            "message": "no such model",
        },
        {
            "reason": "FieldValueInvalid",
            "field": "resource.count",
            "message": "must be 1",
        },
    ]


def test_a_warning_fits_into_a_header() -> None:
    assert printable(["a\nb\x00c\td", "", "a b c d"]) == ["a b c d"]


def test_a_long_warning_is_told_in_full_where_there_is_room() -> None:
    long = f"{'word ' * 100}end"
    assert printable([long]) == [long]
    cut, *_ = printable([long, *(f"{number} {long}" for number in range(20))])
    assert len(cut) <= MAX_WARNING
    assert cut.endswith("word…")


@given(st.lists(st.text(max_size=600), max_size=40))
def test_warnings_stay_within_what_the_api_server_passes_on(
    warnings: list[str],
) -> None:
    told = printable(warnings)
    assert all(text.isprintable() for text in told)
    assert sum(map(len, told)) <= MAX_WARNINGS
