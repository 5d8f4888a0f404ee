"""How the kubelet asks a model server for its health."""

from typing import Any

from pykaito.runtime.presets.plan import ModelServer

PROBE_PERIOD_SECONDS = 5
LIVENESS_PERIOD_SECONDS = 10


def loading_seconds(server: ModelServer) -> int:
    """Return how long a model may take until it is loaded."""
    return server.preset.readiness_minutes * 60


def probes(
    server: ModelServer, path: str, *, timeout: int, hung_after: int
) -> dict[str, Any]:
    """Return a container's probes, all of one path.

    Args:
        server: what is loaded first.
        path: what they ask for.
        timeout: seconds that an answer may take.
        hung_after: seconds without a good answer until it is restarted.
    """
    probe = {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": PROBE_PERIOD_SECONDS,
        "timeoutSeconds": timeout,
    }
    return {
        "startupProbe": {
            **probe,
            "failureThreshold": loading_seconds(server) // PROBE_PERIOD_SECONDS,
        },
        "readinessProbe": probe,
        "livenessProbe": {
            **probe,
            "periodSeconds": LIVENESS_PERIOD_SECONDS,
            "failureThreshold": hung_after // LIVENESS_PERIOD_SECONDS,
        },
    }
