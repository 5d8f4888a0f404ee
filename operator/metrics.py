"""The operator's Prometheus metrics, under controller-runtime's names.

Dashboards and alerts written for controller-runtime work unchanged. Everything
is registered in the process-wide registry and served by `MetricsServer`.
"""

from typing import final

from aiohttp import web
from prometheus_client import (
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from pykaito.operator.listener import HttpListener

# A creation timestamp beside each series would double their number; no
# Kubernetes component exports them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # published untyped

# 10 ns to 1000 s, as client-go has them.
_QUEUE_BUCKETS = tuple(1e-8 * 10**step for step in range(12))
_RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5),
    *(5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_LABELS = ("name", "controller")

WORKQUEUE_DEPTH = Gauge(
    "workqueue_depth",
    "Current depth of workqueue by workqueue and priority",
    (*_QUEUE_LABELS, "priority"),
)
WORKQUEUE_ADDS = Counter(
    "workqueue_adds_total", "Total number of adds handled by workqueue", _QUEUE_LABELS
)
WORKQUEUE_QUEUE_DURATION = Histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue before being requested",
    _QUEUE_LABELS,
    buckets=_QUEUE_BUCKETS,
)
WORKQUEUE_WORK_DURATION = Histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item from workqueue takes",
    _QUEUE_LABELS,
    buckets=_QUEUE_BUCKETS,
)
WORKQUEUE_RETRIES = Counter(
    "workqueue_retries_total",
    "Total number of retries handled by workqueue",
    _QUEUE_LABELS,
)
WORKQUEUE_UNFINISHED_WORK = Gauge(
    "workqueue_unfinished_work_seconds",
    "Seconds of work in progress that work_duration has not observed yet",
    _QUEUE_LABELS,
)
WORKQUEUE_LONGEST_RUNNING = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How many seconds the longest running processor has been running",
    _QUEUE_LABELS,
)

RECONCILE_TOTAL = Counter(
    "controller_runtime_reconcile_total",
    "Total number of reconciliations by controller and result",
    ("controller", "result"),
)
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors_total",
    "Total number of reconciliation errors by controller",
    ("controller",),
)
TERMINAL_RECONCILE_ERRORS = Counter(
    "controller_runtime_terminal_reconcile_errors_total",
    "Total number of reconciliation errors that are not retried, by controller",
    ("controller",),
)
RECONCILE_PANICS = Counter(
    "controller_runtime_reconcile_panics_total",
    "Total number of reconciliations ended by an error nobody expected",
    ("controller",),
)
RECONCILE_TIMEOUTS = Counter(
    "controller_runtime_reconcile_timeouts_total",
    "Total number of reconciliations that outlasted their deadline",
    ("controller",),
)
RECONCILE_TIME = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "Length of time per reconciliation by controller",
    ("controller",),
    buckets=_RECONCILE_BUCKETS,
)
MAX_CONCURRENT_RECONCILES = Gauge(
    "controller_runtime_max_concurrent_reconciles",
    "Maximum number of concurrent reconciliations by controller",
    ("controller",),
)
ACTIVE_WORKERS = Gauge(
    "controller_runtime_active_workers",
    "Number of workers that reconcile right now, by controller",
    ("controller",),
)

# Prometheus' own default, which controller-runtime uses here.
_WEBHOOK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

WEBHOOK_REQUESTS = Counter(
    "controller_runtime_webhook_requests_total",
    "Total number of admission requests by HTTP status code",
    ("webhook", "code"),
)
WEBHOOK_LATENCY = Histogram(
    "controller_runtime_webhook_latency_seconds",
    "Histogram of the latency of processing admission requests",
    ("webhook",),
    buckets=_WEBHOOK_BUCKETS,
)
WEBHOOK_IN_FLIGHT = Gauge(
    "controller_runtime_webhook_requests_in_flight",
    "Current number of admission requests being served",
    ("webhook",),
)
WEBHOOK_PANICS = Counter(
    "controller_runtime_webhook_panics_total",
    "Total number of admission requests ended by an error nobody expected",
    ("webhook",),
)
CERTIFICATE_READS = Counter(
    "certwatcher_read_certificate_total",
    "Total number of times the serving certificate was read",
)
CERTIFICATE_READ_ERRORS = Counter(
    "certwatcher_read_certificate_errors_total",
    "Total number of times the serving certificate could not be read or renewed",
)
CERTIFICATE_EXPIRY = Gauge(
    "kaito_webhook_certificate_expiration_timestamp_seconds",
    "Unix time at which the certificate that is served expires",
)

LEADER_STATUS = Gauge(
    "leader_election_master_status",
    "1 while this process holds the lease, 0 while it does not",
    ("name",),
)
EVENTS_DROPPED = Counter(
    "kaito_events_dropped_total",
    "Kubernetes Events that could not be delivered, by cause",
    ("cause",),
)
EVENT_LOOP_LAG = Gauge(
    "kaito_event_loop_lag_seconds",
    "How late the event loop ran its last heartbeat",
)


@final
class MetricsServer:
    """Serves /metrics.

    Args:
        port: the port to bind on all interfaces; 0 for a free one.
    """

    def __init__(self, port: int) -> None:
        self._listener = HttpListener(port, {"/metrics": _metrics})

    @property
    def port(self) -> int:
        """The bound port; meaningful once started."""
        return self._listener.port

    async def start(self) -> None:
        """Bind and serve."""
        await self._listener.start()

    async def stop(self) -> None:
        """Close the port."""
        await self._listener.stop()


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})
