"""Every line the same shape, and no secret in any."""

import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from pykaito.operator import logs


@pytest.fixture(autouse=True)
def put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_record_is_one_json_object_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    structlog.stdlib.get_logger("pykaito.x").info("applied", kind="Service", count=2)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "applied",
        "level": "info",
        "logger": "pykaito.x",
        "kind": "Service",
        "count": 2,
    }


def test_a_line_carries_the_reconcile_it_belongs_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    with bound_contextvars(controller="workspace", name="a", reconcile_id="1"):
        structlog.stdlib.get_logger().info("ours")
        logging.getLogger("library").warning("theirs")
    for line in lines(capsys):
        assert line["controller"] == "workspace"
        assert line["reconcile_id"] == "1"


def test_libraries_that_log_the_standard_way_have_the_same_shape(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    logging.getLogger("library").warning("%s is odd", "it", extra={"code": 7})
    (line,) = lines(capsys)
    assert line["event"] == "it is odd"
    assert line["level"] == "warning"
    assert line["logger"] == "library"
    assert line["code"] == 7


def test_a_traceback_stays_within_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        {}["gone"]
    except KeyError:
        structlog.stdlib.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    for line in lines(capsys):
        assert "KeyError: 'gone'" in line["exception"]


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "old" in capsys.readouterr().out


def test_quieter_records_than_the_level_are_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("warning")
    structlog.stdlib.get_logger("x").info("quiet")
    logging.getLogger("library").info("quiet")
    assert lines(capsys) == []


def test_http_libraries_do_not_tell_of_every_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info")
    logging.getLogger("httpx").info("HTTP Request: GET /api")
    assert lines(capsys) == []


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "hf_token",
        "HF_TOKEN",
        "hfToken",
        "password",
        "Authorization",
        "api-token",
    ],
)
def test_values_of_secret_keys_are_not_shown(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure()
    structlog.stdlib.get_logger().info("login", **{key: "s3cr3t"})
    structlog.stdlib.get_logger().info("login", request={"headers": [{key: "s3cr3t"}]})
    logging.getLogger("library").warning("login", extra={key: "s3cr3t"})
    out = capsys.readouterr().out
    assert "s3cr3t" not in out
    assert out.count("[redacted]") == 3


@pytest.mark.parametrize("key", ["max_tokens", "tokenizer", "passwords_checked"])
def test_keys_that_only_look_alike_are_shown(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure()
    structlog.stdlib.get_logger().info("loaded", **{key: 7})
    assert lines(capsys)[0][key] == 7


def test_a_bearer_token_inside_a_text_or_traceback_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    log = structlog.stdlib.get_logger()
    log.info("sent Authorization: Bearer abcdefgh12345678")
    try:
        {}["Bearer abcdefgh12345678"]
    except KeyError:
        log.exception("failed")
    assert "abcdefgh" not in capsys.readouterr().out


def test_what_json_does_not_know_is_shown_as_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    structlog.stdlib.get_logger().info("odd", value={1: object}, other=ValueError("x"))
    (line,) = lines(capsys)
    assert line["other"] == "x"


def test_a_value_that_contains_itself_ends(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    loop: dict[str, Any] = {}
    loop["self"] = loop
    structlog.stdlib.get_logger().info("odd", loop=loop)
    assert len(lines(capsys)) == 1


def test_the_console_format_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(format="console")
    structlog.stdlib.get_logger().info("applied", kind="Service")
    out = capsys.readouterr().out
    assert "applied" in out
    assert "kind=Service" in out


def test_unknown_levels_and_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error, got 'loud'"):
        logs.configure("loud")
    with pytest.raises(ValueError, match="json or console, got 'xml'"):
        logs.configure(format="xml")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables_and_no_token(
    capsys: pytest.CaptureFixture[str], form: logs.Format
) -> None:
    def read(seen: str) -> None:
        raise ValueError(f"refused: Bearer {seen}")

    secret = "hf-abcdefgh"
    logs.configure(format=form)
    try:
        read(secret)
    except ValueError:
        structlog.stdlib.get_logger("pykaito.x").exception("broke")
    told = capsys.readouterr().out
    assert "ValueError: refused: Bearer [redacted]" in told
    assert "in read" in told
    assert secret not in told
