"""What a Prometheus server scrapes."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pykaito.operator import metrics
from pykaito.operator.metrics import MetricsServer

# What the dashboards of controller-runtime ask for, with the labels they use.
EXPECTED = {
    "workqueue_depth": {"name", "controller", "priority"},
    "workqueue_adds": {"name", "controller"},
    "workqueue_queue_duration_seconds": {"name", "controller"},
    "workqueue_work_duration_seconds": {"name", "controller"},
    "workqueue_retries": {"name", "controller"},
    "workqueue_unfinished_work_seconds": {"name", "controller"},
    "workqueue_longest_running_processor_seconds": {"name", "controller"},
    "controller_runtime_reconcile": {"controller", "result"},
    "controller_runtime_reconcile_errors": {"controller"},
    "controller_runtime_terminal_reconcile_errors": {"controller"},
    "controller_runtime_reconcile_panics": {"controller"},
    "controller_runtime_reconcile_timeouts": {"controller"},
    "controller_runtime_reconcile_time_seconds": {"controller"},
    "controller_runtime_max_concurrent_reconciles": {"controller"},
    "controller_runtime_active_workers": {"controller"},
    "leader_election_master_status": {"name"},
}


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    server = MetricsServer(0)
    await server.start()
    yield server
    await server.stop()


async def scrape(server: MetricsServer, accept: str = "") -> tuple[str, str]:
    url = f"http://127.0.0.1:{server.port}/metrics"
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession() as http,
        http.get(url, timeout=timeout, headers={"Accept": accept}) as got,
    ):
        assert got.status == 200
        return got.headers["Content-Type"], await got.text()


async def test_prometheus_can_read_it(server: MetricsServer) -> None:
    metrics.RECONCILE_TOTAL.labels("scraped", "success").inc()
    content_type, body = await scrape(server)
    assert content_type.startswith("text/plain; version=")
    samples = {s.name: s for family in parse_text(body) for s in family.samples}
    assert "controller_runtime_reconcile_total" in samples
    assert not [name for name in samples if name.endswith("_created")]


async def test_openmetrics_is_spoken_when_asked_for(server: MetricsServer) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    content_type, body = await scrape(server, accept)
    assert content_type.startswith("application/openmetrics-text")
    assert list(text_string_to_metric_families(body))


async def test_process_metrics_are_there(server: MetricsServer) -> None:
    _, body = await scrape(server)
    assert "process_resident_memory_bytes" in body


def test_names_and_labels_are_those_of_controller_runtime() -> None:
    families = {
        metric._name: set(metric._labelnames)
        for metric in vars(metrics).values()
        if hasattr(metric, "_labelnames")
    }
    assert families.items() >= EXPECTED.items()
