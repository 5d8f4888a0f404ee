"""Provisioners by name, found through the entry-point group.

A third party adds one without a fork: its distribution names a callable that
takes a :class:`Context` and returns a :class:`Provisioner` under the group
``pykaito.provisioners``.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points

import structlog

from pykaito.provisioners.protocol import Context, Provisioner

GROUP = "pykaito.provisioners"

Factory = Callable[[Context], Provisioner]

log = structlog.get_logger()


def installed() -> Iterator[Factory]:
    """Yield what makes each installed provisioner.

    One that cannot be imported is told and left out: the others go on making nodes,
    and Machines of that one say that it is missing.
    """
    for entry in entry_points(group=GROUP):
        try:
            yield entry.load()
        except Exception:
            log.exception("a provisioner cannot be loaded", name=entry.name)


def load_provisioners(
    context: Context, factories: Iterable[Factory] | None = None
) -> dict[str, Provisioner]:
    """Build provisioners by their names, all that are installed by default.

    Raises:
        ValueError: two of them claim one name.
    """
    loaded: dict[str, Provisioner] = {}
    for factory in installed() if factories is None else factories:
        provisioner = factory(context)
        if (other := loaded.get(provisioner.name)) is not None:
            raise ValueError(
                f"two provisioners are named {provisioner.name!r}, of "
                f"{type(other).__module__} and {type(provisioner).__module__}; "
                "uninstall one"
            )
        loaded[provisioner.name] = provisioner
    return loaded
