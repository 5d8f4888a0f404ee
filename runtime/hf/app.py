"""The HTTP application, put together from its endpoints."""

from fastapi import FastAPI, Request
from starlette.responses import Response

from pykaito.runtime.hf.chat_api import chat_router
from pykaito.runtime.hf.disconnect import ClientGoneError
from pykaito.runtime.hf.error_handlers import install_error_handlers
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.gate import Gate
from pykaito.runtime.hf.lifecycle import Lifecycle
from pykaito.runtime.hf.metrics import Metrics
from pykaito.runtime.hf.openai_api import openai_router
from pykaito.runtime.hf.openapi import describe
from pykaito.runtime.hf.service import GenerationService
from pykaito.runtime.hf.status_api import status_router


def build_app(settings: Settings, lifecycle: Lifecycle) -> FastAPI:
    """Return the application; it answers at once, tokens come when loaded."""
    metrics = Metrics(settings.served_model_name, lifecycle)
    service = GenerationService(
        lifecycle=lifecycle, metrics=metrics, timeout=settings.request_timeout
    )
    app = FastAPI(
        title="pykaito transformers runtime",
        # Their pages load scripts from elsewhere; /openapi.json is there.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(status_router(lifecycle, metrics))
    app.include_router(chat_router(settings, lifecycle, service))
    app.include_router(openai_router(settings, lifecycle, service))
    describe(app)
    install_error_handlers(app)
    app.add_exception_handler(ClientGoneError, _nobody_listens)
    limit = settings.max_request_bytes
    app.add_middleware(Gate, lifecycle=lifecycle, max_bytes=limit)
    return app


async def _nobody_listens(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=499)
