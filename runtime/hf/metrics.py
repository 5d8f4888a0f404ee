"""What Prometheus sees.

Where a number means what vLLM's does, it has its name, so that dashboards and
alerts made for vLLM work for this runtime too.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.start_metrics import StartMetrics

TIME_TO_FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0),
)
BETWEEN_TOKENS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
REQUEST = (
    *(0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0),
)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


class Metrics:
    """The metrics of one server, all with the label ``model_name``.

    Args:
        model_name: The label's value.
        lifecycle: Where numbers of the moment are read when Prometheus asks.
    """

    def __init__(self, model_name: str, lifecycle: Lifecycle) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._model_name = model_name
        running = self._gauge(
            "vllm:num_requests_running", "Requests that are being generated."
        )
        running.set_function(lambda: getattr(lifecycle.engine, "running", 0))
        waiting = self._gauge(
            "vllm:num_requests_waiting", "Requests that wait for their turn."
        )
        waiting.set_function(lambda: getattr(lifecycle.engine, "waiting", 0))
        usage = self._gauge(
            "vllm:kv_cache_usage_perc",
            "Share of the batch's memory that is in use, from 0 to 1.",
        )
        usage.set_function(lambda: getattr(lifecycle.engine, "cache_usage", 0))
        batching = self._gauge(
            "kaito_continuous_batching",
            "1 if requests share a batch, 0 if the model is asked one at a time.",
        )
        batching.set_function(lambda: getattr(lifecycle.engine, "batching", False))
        self.registry.register(StartMetrics(model_name, lifecycle.progress))
        self.prompt_tokens = self._counter(
            "vllm:prompt_tokens", "Tokens of prompts that were processed."
        )
        self.generation_tokens = self._counter(
            "vllm:generation_tokens", "Tokens that were generated."
        )
        self._finished = Counter(
            "vllm:request_success",
            "Requests by how they ended: stop, length, abort or error.",
            ["model_name", "finished_reason"],
            registry=self.registry,
        )
        self.rejected = self._counter(
            "kaito_ratelimit_rejected", "Requests answered 429: the queue was full."
        )
        self.queue_time = self._histogram(
            "vllm:request_queue_time_seconds", "Seconds until its turn.", REQUEST
        )
        self.time_to_first_token = self._histogram(
            "vllm:time_to_first_token_seconds",
            "Seconds from arrival to the first token.",
            TIME_TO_FIRST_TOKEN,
        )
        self.inter_token_latency = self._histogram(
            "vllm:inter_token_latency_seconds",
            "Seconds between two tokens of a request.",
            BETWEEN_TOKENS,
        )
        self.request_latency = self._histogram(
            "vllm:e2e_request_latency_seconds",
            "Seconds from arrival to the last token.",
            REQUEST,
        )
        self.request_prompt_tokens = self._histogram(
            "vllm:request_prompt_tokens", "Tokens of a request's prompt.", TOKENS
        )
        self.request_generation_tokens = self._histogram(
            "vllm:request_generation_tokens", "Tokens of a request's answer.", TOKENS
        )

    def finished(self, reason: str) -> None:
        """Count a request as ended."""
        self._finished.labels(self._model_name, reason).inc()

    def _gauge(self, name: str, text: str) -> Gauge:
        gauge = Gauge(name, text, ["model_name"], registry=self.registry)
        return gauge.labels(self._model_name)

    def _counter(self, name: str, text: str) -> Counter:
        counter = Counter(name, text, ["model_name"], registry=self.registry)
        return counter.labels(self._model_name)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(
            name, text, ["model_name"], buckets=buckets, registry=self.registry
        )
        return histogram.labels(self._model_name)
