"""What Prometheus sees of a start: how far it is, and once over what it took."""

from collections.abc import Iterable
from typing import final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pykaito.runtime.hf.progress import Progress


@final
class StartMetrics(Collector):
    """The metrics of one start, all with the label ``model_name``.

    Args:
        model_name: The label's value.
        progress: Read when Prometheus asks.
    """

    def __init__(self, model_name: str, progress: Progress) -> None:
        self._model_name = model_name
        self._progress = progress

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the metrics; ``kaito_startup_seconds`` is empty until all is over."""
        download = self._progress.download
        yield self._gauge(
            "kaito_model_load_ratio",
            "Weights in memory, from 0 to 1 for all.",
            self._progress.loaded,
        )
        yield self._gauge(
            "kaito_model_download_speed_bytes_per_second",
            "Of the weights' download since it began; 0 while there is none.",
            download.speed() if download else 0,
        )
        yield self._gauge(
            "kaito_model_download_remaining_seconds",
            "Until the weights are downloaded; -1 if that is not known.",
            download.remaining() if download else 0,
        )
        family = GaugeMetricFamily(
            "kaito_startup_seconds",
            "Seconds that each stage of the start took.",
            labels=["model_name", "stage"],
        )
        for stage, seconds in self._progress.startup.items():
            family.add_metric([self._model_name, stage], seconds)
        yield family

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["model_name"])
        family.add_metric([self._model_name], value)
        return family
