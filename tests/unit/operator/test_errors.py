import orjson
import pytest

from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    ApplyConflictError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
    error_from_body,
    error_from_status,
)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", InvalidError),
        (405, "MethodNotAllowed", ApiError),
        (401, "Unauthorized", UnauthorizedError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (410, "Expired", ExpiredError),
        (410, "Gone", ExpiredError),
        (422, "Invalid", InvalidError),
        (429, "TooManyRequests", TooManyRequestsError),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
    ],
)
def test_each_code_and_reason_has_its_error(
    code: int, reason: str, expected: type[ApiError]
) -> None:
    error = error_from_status({"code": code, "reason": reason, "message": "m"})
    assert type(error) is expected
    assert (error.status, error.reason, str(error)) == (
        code,
        reason,
        f"{code} {reason}: m",
    )


def test_an_apply_conflict_lists_the_fields_that_others_own_and_no_other_cause() -> (
    None
):
    def cause(field: str, manager: str) -> dict[str, str]:
        return {
            "reason": "FieldManagerConflict",
            "field": field,
            "message": f'conflict with "{manager}" using apps/v1',
        }

    causes = [
        cause(".spec.replicas", "kubectl-edit"),
        {"reason": "Other", "field": ".x"},
        cause(".spec.paused", 'before "then'),
        {"reason": "FieldManagerConflict", "field": ".y", "message": "unheard-of"},
    ]
    status = {"code": 409, "reason": "Conflict", "details": {"causes": causes}}
    error = error_from_status(status)
    assert isinstance(error, ApplyConflictError)
    assert not isinstance(error, ConflictError)
    assert [(c.field, c.manager) for c in error.conflicts] == [
        (".spec.replicas", "kubectl-edit"),
        (".spec.paused", "before "),
        (".y", ""),
    ]


def test_an_apply_of_a_field_that_there_is_not_is_invalid_and_no_failure() -> None:
    message = "failed to create typed patch object (ns/a; apps/v1, Kind=Deployment): "
    status = {"code": 500, "message": f"{message}.spec.foo: field not declared"}
    assert isinstance(error_from_status(status), InvalidError)
    assert isinstance(error_from_status({"code": 500}), ServerError)


def test_a_time_to_come_back_is_taken_from_the_header_or_the_details() -> None:
    status = {"kind": "Status", "code": 429, "details": {"retryAfterSeconds": 3}}
    assert error_from_status(status).retry_after == 3.0
    body = orjson.dumps(status)
    assert error_from_body(429, body, retry_after=9.0).retry_after == 9.0


def test_a_server_behind_the_version_asked_for_is_told_apart() -> None:
    causes = [{"reason": "ResourceVersionTooLarge"}]
    status = {"code": 504, "reason": "Timeout", "details": {"causes": causes}}
    assert error_from_status(status).resource_version_too_large
    assert not error_from_status({"code": 504}).resource_version_too_large


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"404 page not found\n", "404 page not found"),
        (b"", "the server answered 404 and an empty body"),
        (b'{"kind": "Pod"}', '{"kind": "Pod"}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 10_000, "x" * 500),
    ],
)
def test_a_body_that_is_no_status_is_the_message_cut_to_a_line(
    body: bytes, message: str
) -> None:
    error = error_from_body(404, body)
    assert isinstance(error, NotFoundError)
    assert error.message == message
