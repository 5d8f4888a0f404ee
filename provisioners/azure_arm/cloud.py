"""What is asked of a cloud: the agent pools of one cluster."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from pykaito.provisioners.azure_arm.pool import Pool


class PoolExistsError(Exception):
    """There is a pool of that name already; it was not touched."""


class AgentPools(Protocol):
    """The agent pools of a cluster. Each method is one request, or a page of several.

    All raise `CloudError` where the cloud refuses or does not answer.
    """

    @abstractmethod
    async def list(self) -> list[Pool]:
        """Return all pools of the cluster, whoever made them."""

    @abstractmethod
    async def get(self, name: str) -> Pool | None:
        """Return the pool of that name, None when there is none."""

    @abstractmethod
    async def create(self, name: str, body: Mapping[str, Any]) -> Pool:
        """Ask for a new pool.

        Raises:
            PoolExistsError: there is one of that name.
        """

    @abstractmethod
    async def delete(self, pool: Pool) -> None:
        """Ask for a pool's end, if it has not changed since it was looked at."""

    @abstractmethod
    async def is_stopped(self) -> bool:
        """Whether the cluster is stopped, so that nothing can be changed."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""
