"""What a pod says of itself is taken for what it can mean, and for nothing else."""

import json
from typing import Any

import pytest

from pykaito.reconcilers.inference.loading.report import (
    Report,
    Stage,
    is_news,
    read,
)
from pykaito.runtime.hf.progress import MEASURED_AS

ANSWER: dict[str, Any] = {
    "status": "loading",
    "stage": "downloading the weights",
    "progress": 0.43,
    "downloaded_bytes": 12_100_000_000,
    "total_bytes": 28_000_000_000,
    "bytes_per_second": 250e6,
    "seconds_left": 64,
}


def said(**changes: Any) -> Report | None:
    return read(json.dumps(ANSWER | changes).encode())


def test_a_download_is_read_with_all_its_numbers() -> None:
    assert said() == Report(Stage.DOWNLOADING, 0.43, 12.1e9, 28e9, 250e6, 64)


def test_a_stage_alone_is_enough() -> None:
    body = b'{"status": "Loading", "stage": "loading the weights", "progress": null}'
    assert read(body) == Report(Stage.LOADING)


def test_the_stages_are_those_of_the_runtimes_and_measured_as_there() -> None:
    known = {str(stage): stage.measured_as for stage in Stage}
    assert MEASURED_AS.items() <= known.items()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Service Unavailable",
        b"null",
        b"[]",
        b'"downloading the weights"',
        b"{}",
        b'{"status": "Draining"}',
        b'{"stage": "downloading the weights"',
        b'{"stage": "downloading the weights"}}',
        b'{"stage": ["downloading the weights"]}',
        b'{"stage": {}}',
        b'{"stage": "Downloading The Weights"}',
        b'{"stage": "downloading the weights\\n"}',
        b'{"stage": "[click](http://evil.example)"}',
        '{"stage": "downloading the weights\u200b"}'.encode(),
        b'\xff\xfe{"stage": "loading the weights"}',
        b"[" * 4096,
        b'{"a":' * 800,
        b'{"stage": "loading the weights", "progress": ' + b"1" * 4000 + b",}",
    ],
)
def test_what_names_no_known_stage_says_nothing(body: bytes) -> None:
    assert read(body) is None


@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.1, 1.1, 10**300, "0.5", "<b>", True, [0.5], {"x": 1}, None),
        *(float("nan"), float("inf"), float("-inf")),
    ],
)
def test_a_share_that_is_none_is_not_known(value: object) -> None:
    assert said(progress=value) == Report(
        Stage.DOWNLOADING, None, 12.1e9, 28e9, 250e6, 64
    )


@pytest.mark.parametrize("value", [-1, 1e16, float("nan"), "12 GB", False, 10**4000])
@pytest.mark.parametrize(
    "field", ["downloaded_bytes", "total_bytes", "bytes_per_second", "seconds_left"]
)
def test_an_amount_out_of_bounds_is_left_out_and_the_others_stay(
    field: str, value: object
) -> None:
    found, whole = said(**{field: value}), said()
    assert found is not None
    assert whole is not None
    amounts = (found.done, found.total, found.speed, found.left)
    assert amounts.count(None) == 1
    assert set(amounts) - {None} < {whole.done, whole.total, whole.speed, whole.left}
    assert found.share == 0.43


@pytest.mark.parametrize(
    ("share", "percent"),
    [(0, 0), (0.29, 29), (0.43, 43), (0.999, 99), (1, 100), (None, None)],
)
def test_all_is_done_only_at_a_hundred_percent(
    share: float | None, percent: int | None
) -> None:
    assert Report(Stage.LOADING, share).percent == percent


DOWNLOAD = Report(Stage.DOWNLOADING, 0.43)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (None, DOWNLOAD),
        (DOWNLOAD, None),
        (DOWNLOAD, Report(Stage.LOADING, 0.43)),
        (DOWNLOAD, Report(Stage.DOWNLOADING)),
        (Report(Stage.DOWNLOADING), DOWNLOAD),
        (DOWNLOAD, Report(Stage.DOWNLOADING, 0.48)),
        (DOWNLOAD, Report(Stage.DOWNLOADING, 0.1)),
    ],
)
def test_five_percent_points_or_another_stage_are_news(
    told: Report | None, found: Report | None
) -> None:
    assert is_news(told, found)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (None, None),
        (DOWNLOAD, Report(Stage.DOWNLOADING, 0.479, 13e9, 28e9, 300e6, 50)),
        (DOWNLOAD, Report(Stage.DOWNLOADING, 0.40)),
        (Report(Stage.GENERATING), Report(Stage.GENERATING)),
        (Report(Stage.DOWNLOADING, done=1e9), Report(Stage.DOWNLOADING, done=2e9)),
    ],
)
def test_less_than_that_is_not(told: Report | None, found: Report | None) -> None:
    assert not is_news(told, found)
