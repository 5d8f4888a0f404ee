"""How the kubelet asks a model server for its health."""

import math
from typing import Any

from pykaito.runtime.presets.plan import ModelServer
from pykaito.runtime.presets.weights import FromHub

PROBE_PERIOD_SECONDS = 5
LIVENESS_PERIOD_SECONDS = 10

#: Bytes per second that a download is given time for: a server that is ended in the
#: middle of it begins its unfinished files anew, on a slow link for ever.
SLOWEST_DOWNLOAD = 10e6
#: Seconds after which vLLM's runtime gives a download up by itself.
LONGEST_DOWNLOAD = 12 * 3600


def loading_seconds(server: ModelServer) -> int:
    """Return how long a model may take until it is loaded, its download included."""
    seconds = server.preset.readiness_minutes * 60
    if isinstance(server.weights, FromHub):
        size = server.preset.weights_gib * 2**30
        minutes = math.ceil(size / SLOWEST_DOWNLOAD / 60)
        seconds += min(60 * minutes, LONGEST_DOWNLOAD)
    return seconds


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
