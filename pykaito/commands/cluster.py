"""A short-lived connection to the API server, for one command."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pykaito
from pykaito.commands.failure import fail
from pykaito.commands.snapshot import REQUEST_SECONDS
from pykaito.operator.client import Client
from pykaito.operator.errors import ApiError, NotFoundError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """Which Workspace of which cluster."""

    name: str
    #: That of the credentials when empty.
    namespace: str
    kubeconfig: Path | None


def ask(target: Target, question: Callable[[Client, str], Awaitable[_T]]) -> _T:
    """Connect, ask, and close; the question gets the client and the namespace.

    Whatever keeps the question from being answered ends the program with one
    line on standard error.
    """
    try:
        return asyncio.run(_ask(target, question))
    except TimeoutError:
        fail(f"the API server gave no answer within {REQUEST_SECONDS:.0f}s")
    except (ApiError, ValueError, OSError) as error:
        fail(str(error))


async def _ask(target: Target, question: Callable[[Client, str], Awaitable[_T]]) -> _T:
    try:
        client = await Client.connect(
            kubeconfig=target.kubeconfig,
            user_agent=f"pykaito/{pykaito.__version__}",
            request_seconds=REQUEST_SECONDS,
        )
    except Exception as error:  # noqa: BLE001 - a broken kubeconfig, or its plugin, fails in any way
        fail(f"cannot read the credentials: {error}")
    namespace = target.namespace or client.namespace
    try:
        return await question(client, namespace)
    except NotFoundError as error:
        if not error.details.get("name"):
            fail("this cluster does not know Workspaces; is pykaito installed?")
        fail(
            f"no Workspace {target.name!r} in namespace {namespace!r}; "
            "kubectl get workspaces -A lists them all"
        )
    finally:
        await client.close()
