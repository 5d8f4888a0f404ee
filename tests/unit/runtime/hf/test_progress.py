"""What a start took is told by its stages, once, when it is over."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.progress import Download, Progress
from pykaito.runtime.hf.start_engine import start_engine

from .conftest import RunningServer


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def started(tmp_path: Path) -> Progress:
    """Return a start in which everything took a time of its own."""
    clock = Clock()
    progress = Progress(clock)
    turns: list[tuple[float, Callable[[], None]]] = [
        (1, lambda: progress.begin("importing torch and transformers")),
        (8, lambda: progress.begin("loading the tokenizer")),
        (2, lambda: progress.begin_download(Download.begin(tmp_path, total=None))),
        (64, lambda: progress.load(0)),
        (16, lambda: progress.load(0.5)),
        (16, lambda: progress.begin("merging the adapters")),
        (4, lambda: progress.begin("generating a first token")),
        (0.5, progress.finish),
    ]
    for seconds, turn in turns:
        assert progress.startup == {}
        clock.now += seconds
        turn()
    return progress


def test_each_stage_has_the_time_of_what_belongs_to_it(tmp_path: Path) -> None:
    assert started(tmp_path).startup == {
        "import": 9,
        "download": 64,
        "load": 38,
        "first_token": 0.5,
    }


def test_prometheus_sees_the_stages_once_the_start_is_over(tmp_path: Path) -> None:
    server = RunningServer(parse_flags(["--served_model_name=phi"]), started=None)
    try:
        assert samples(server) == {}
        server.lifecycle.progress.startup = started(tmp_path).startup
        assert samples(server) == {
            ("phi", "import"): 9,
            ("phi", "download"): 64,
            ("phi", "load"): 38,
            ("phi", "first_token"): 0.5,
        }
    finally:
        server.stop()


def samples(server: RunningServer) -> dict[tuple[str, str], float]:
    text = server.http.get("/metrics").text
    return {
        (sample.labels["model_name"], sample.labels["stage"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "kaito_startup_seconds"
        for sample in family.samples
    }


def test_a_start_from_a_folder_downloads_nothing(
    model_folder: Callable[[str], Path],
) -> None:
    progress = Progress()
    path = f"--pretrained_model_name_or_path={model_folder('llama')}"
    started = start_engine(parse_flags([path]), progress)
    started.engine.close()
    assert progress.startup.keys() == {"import", "load", "first_token"}
    assert progress.startup["first_token"] > 0
