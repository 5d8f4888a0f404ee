"""What tells this Kubernetes cluster from all others."""

from typing import final

from pykaito.operator.client import Client
from pykaito.operator.objects import NAMESPACES, uid

NAMESPACE = "kube-system"


@final
class Identity:
    """The uid of the namespace that every cluster has and nobody makes again.

    Two operators that were told of one AKS cluster by mistake keep off each other's
    pools by it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found = ""

    @property
    def known(self) -> str:
        """The identity, empty until it was looked up."""
        return self._found

    async def get(self) -> str:
        """Return the identity.

        Raises:
            ApiError: the API server did not tell.
        """
        if not self._found:
            self._found = uid(await self._client.get(NAMESPACES, NAMESPACE))
        return self._found
