"""What probes, Prometheus and people ask: /, /health, /metrics."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from pykaito.runtime.hf.lifecycle import Lifecycle, Phase
from pykaito.runtime.hf.metrics import Metrics


def status_router(lifecycle: Lifecycle, metrics: Metrics) -> APIRouter:
    """Return the endpoints; they answer in every phase of the server's life."""
    router = APIRouter()

    @router.get("/")
    async def root() -> dict[str, str]:
        """Say that the process answers, ready or not."""
        return {"message": "Server is running"}

    @router.get("/health", response_model=None)
    async def health() -> Response:
        """Say whether requests are taken: 200, else 503; 500 asks for a restart."""
        failure = lifecycle.failure
        if failure is not None:
            return JSONResponse({"status": "Unhealthy", "reason": failure}, 500)
        body: dict[str, Any] = {"status": lifecycle.phase.value}
        if lifecycle.phase is Phase.READY:
            return JSONResponse(body)
        if lifecycle.phase is Phase.LOADING:
            body |= lifecycle.progress.report()
        return JSONResponse(body, 503)

    @router.get("/metrics", response_model=None)
    async def prometheus() -> Response:
        """Return the metrics in Prometheus's text format."""
        text = generate_latest(metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
