"""The connection to Azure: made when it is first needed, and patient with faults."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, final

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
)

from pykaito.operator.backoff import exponential
from pykaito.operator.clock import Clock
from pykaito.provisioners.azure_arm.cloud import AgentPools
from pykaito.provisioners.azure_arm.failures import CloudError, explain
from pykaito.provisioners.azure_arm.settings import Target
from pykaito.provisioners.errors import NotConfiguredError

ATTEMPTS = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
"""Seconds between attempts. Whoever is told to wait longer gives up: a reconcile that
sleeps keeps others from their turn, and comes again by itself."""

CALL_SECONDS = 60.0
"""Limit of one attempt, tokens and pages included."""

_UNAUTHORIZED = 401

T = TypeVar("T")
_log = structlog.stdlib.get_logger(__name__)

Connect = Callable[[Target], Awaitable[AgentPools]]


async def connect(target: Target) -> AgentPools:
    """Import Azure's SDKs, beside the event loop, and connect by them.

    Raises:
        NotConfiguredError: they are not installed.
    """
    try:
        made = await asyncio.to_thread(_load)
    except ModuleNotFoundError as error:
        raise NotConfiguredError(
            f"Azure's SDKs are not installed ({error.name} is missing); install "
            "pykaito[azure]"
        ) from None
    return made(target)


def _load() -> Callable[[Target], AgentPools]:
    from pykaito.provisioners.azure_arm import sdk  # noqa: PLC0415 - see there

    return sdk.connect


@final
class Session:
    """Sends requests, again where that is of use.

    Args:
        target: returns the cluster, or raises what the environment lacks.
        clock: time.
        connect: makes the connection.
    """

    def __init__(
        self, target: Callable[[], Target], clock: Clock, connect: Connect
    ) -> None:
        self._target = target
        self._clock = clock
        self._connect = connect
        self._pools: AgentPools | None = None
        self._connecting = asyncio.Lock()

    async def send(
        self, about: str, request: Callable[[AgentPools], Awaitable[T]]
    ) -> T:
        """Return what a request answers.

        Args:
            about: what is asked for, for the error.
            request: asks for it; asked again after a fault that may pass.

        Raises:
            ProvisionError: it was refused, or all attempts failed.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception(_worthwhile),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_pause,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            return await attempts(self._once, request)
        except CloudError as error:
            raise explain(error, about) from None

    async def close(self) -> None:
        """Close the connections; the next request opens others."""
        pools, self._pools = self._pools, None
        if pools is not None:
            await pools.close()

    async def _once(self, request: Callable[[AgentPools], Awaitable[T]]) -> T:
        pools = await self._connected()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await request(pools)
        except TimeoutError:
            why = f"no answer within {CALL_SECONDS:g} s"
            raise CloudError(why, answered=False) from None
        except CloudError as error:
            if error.status == _UNAUTHORIZED and self._pools is pools:
                # Tokens are kept until they expire, also those that are refused.
                await self.close()
            raise

    async def _connected(self) -> AgentPools:
        async with self._connecting:
            if self._pools is None:
                target = self._target()
                self._pools = await self._connect(target)
                _log.info("connected to Azure", target=target.title)
            return self._pools


def _worthwhile(error: BaseException) -> bool:
    if not isinstance(error, CloudError) or not error.transient:
        return False
    return error.retry_after is None or error.retry_after <= LONGEST_PAUSE


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, CloudError) and error.retry_after is not None:
        return error.retry_after
    return exponential(
        state.attempt_number - 1, base=FIRST_PAUSE, ceiling=LONGEST_PAUSE
    )
