"""What Workspaces want of nodes, so that two of them do not want the same GPUs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import final

from pykaito.api.quantity import parse_quantity
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key, Object, namespace, owner_of
from pykaito.reconcilers.workspace.machines import node_of

Resources = Mapping[str, str]


def held_by_others(
    machines: Iterable[Object], owner: Key
) -> Mapping[str, Sequence[Resources]]:
    """Return what Machines of Workspaces other than ``owner`` hold, by node."""
    return _by_node(_held(machines), owner)


@final
class Claims:
    """Every Machine claims resources of its node for the Workspace that owns it.

    Reconciles of two Workspaces may run at once, and neither sees in the cache
    what the other is about to apply. So a choice is also put here, before
    anything is awaited. After a restart the Machines tell all.
    """

    def __init__(self, machines: Informer) -> None:
        self._machines = machines
        self._chosen: dict[Key, tuple[tuple[str, ...], Resources]] = {}

    def put(self, owner: Key, nodes: Iterable[str], resources: Resources) -> None:
        """Claim resources of each of the nodes, in place of what was claimed."""
        self._chosen[owner] = tuple(nodes), resources

    def drop(self, owner: Key) -> None:
        """Claim nothing any more but what Machines still hold."""
        self._chosen.pop(owner, None)

    def of_others(self, owner: Key) -> Mapping[str, Sequence[Resources]]:
        """Return what Workspaces other than ``owner`` claim, by node."""
        claims = dict(_held(self._machines.store.list()))
        for at, (nodes, resources) in self._chosen.items():
            claims |= {(at, node): resources for node in nodes}
        return _by_node(claims.items(), owner)


def _by_node(
    claims: Iterable[tuple[tuple[Key, str], Resources]], owner: Key
) -> Mapping[str, Sequence[Resources]]:
    by_node: dict[str, list[Resources]] = defaultdict(list)
    for (at, node), resources in claims:
        if at != owner:
            by_node[node].append(resources)
    return by_node


def _held(machines: Iterable[Object]) -> Iterator[tuple[tuple[Key, str], Resources]]:
    """Yield the Workspace and the node of each Machine, and what it holds."""
    for machine in machines:
        reference, node = owner_of(machine), node_of(machine)
        if reference is not None and node:
            at = Key(namespace(machine), reference["name"])
            yield (at, node), _readable(machine["spec"].get("resources") or {})


def _readable(resources: Resources) -> Resources:
    """Return the resources without amounts that nobody can add up.

    The CRD takes some, such as 1e100, in a Machine that someone wrote. It must not
    keep everyone else from that node.
    """
    return {r: amount for r, amount in resources.items() if _is_quantity(amount)}


def _is_quantity(amount: str) -> bool:
    try:
        parse_quantity(amount)
    except ValueError:
        return False
    return True
