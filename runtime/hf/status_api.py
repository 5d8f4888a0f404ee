"""What probes, Prometheus and people ask: /, /health, /metrics."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pykaito.runtime.hf.lifecycle import Lifecycle, Phase
from pykaito.runtime.hf.metrics import Metrics
from pykaito.runtime.hf.reply_schema import (
    Answering,
    Draining,
    Healthy,
    Loading,
    Unhealthy,
)

HEALTH: dict[int | str, dict[str, Any]] = {
    200: {"model": Healthy, "description": "Requests are taken."},
    500: {"model": Unhealthy, "description": "Only a restart helps."},
    503: {"model": Loading | Draining, "description": "Not yet, or no more."},
}


def status_router(lifecycle: Lifecycle, metrics: Metrics) -> APIRouter:
    """Return the endpoints; they answer in every phase of the server's life."""
    router = APIRouter()

    @router.get("/", response_model=Answering)
    async def root() -> dict[str, str]:
        """Say that the process answers, ready or not."""
        return {"message": "Server is running"}

    @router.get("/health", response_model=None, responses=HEALTH)
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

    @router.get("/metrics", response_class=PlainTextResponse, response_model=None)
    async def prometheus() -> Response:
        """Return the metrics in Prometheus's text format."""
        text = generate_latest(metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
