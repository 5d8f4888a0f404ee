"""Keeps the lists of adapters that running servers follow."""

from contextlib import suppress
from dataclasses import dataclass

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.client import Client
from pykaito.operator.errors import NotFoundError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import CONFIG_MAPS, Key, Object, key, owner_of
from pykaito.reconcilers.apply import Applied, Applier
from pykaito.reconcilers.inference import manifests
from pykaito.reconcilers.inference.rollout import is_rolling
from pykaito.reconcilers.writes import Note


@dataclass(frozen=True, slots=True)
class ListApplied:
    """A list as it was applied; none where no pod follows one.

    ``change``: what running servers are told by it, in words; empty for nothing.
    """

    applied: tuple[Applied, ...] = ()
    change: str = ""


class AdapterLists:
    """Applies a Workspace's list, and deletes it once no pod follows it.

    Args:
        client: writes them.
        field_manager: whose fields they are.
        informer: of the ConfigMaps that are Workspaces'.
    """

    def __init__(self, client: Client, field_manager: str, informer: Informer) -> None:
        self._client = client
        self._informer = informer
        self._applier = Applier(client, field_manager, informer)

    async def apply(
        self, live: Object, workspace: Workspace, deployment: Object, note: Note
    ) -> ListApplied:
        """Apply the list for a Deployment that is about to be applied.

        It goes first, since pods cannot start without.

        Raises:
            NameTakenError: somebody else's ConfigMap has its name.
            ApiError: the API server refused it.
        """
        if not manifests.brings_adapters(deployment):
            return ListApplied()
        before = self._informer.store.get(_list_of(key(live)))
        applied = await self._applier.apply(
            manifests.adapter_list(workspace, live), note
        )
        if before is None:
            return ListApplied((applied,))
        change = manifests.describe_change(before, applied.obj)
        return ListApplied((applied,), change)

    async def prune(self, live: Object, deployed: Object) -> None:
        """Delete a list that no pod mounts any more."""
        where = _list_of(key(live))
        found = self._informer.store.get(where)
        if found is None or manifests.brings_adapters(deployed) or is_rolling(deployed):
            return
        if (owner_of(found) or {}).get("uid") != live["metadata"]["uid"]:
            return
        with suppress(NotFoundError):
            await self._client.delete(
                CONFIG_MAPS,
                where.name,
                namespace=where.namespace,
                uid=found["metadata"]["uid"],
            )


def _list_of(workspace: Key) -> Key:
    return Key(workspace.namespace, manifests.list_name(workspace.name))
