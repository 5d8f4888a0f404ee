"""Provisioners by name, found through the entry-point group.

A third party adds one without a fork: its distribution names a callable that
takes a :class:`Context` and returns a :class:`Provisioner` under the group
``pykaito.provisioners``.
"""

from importlib.metadata import entry_points

from pykaito.provisioners.protocol import Context, Provisioner

GROUP = "pykaito.provisioners"


def load_provisioners(context: Context) -> dict[str, Provisioner]:
    """Build every installed provisioner.

    Raises:
        ValueError: two distributions claim one name.
    """
    loaded: dict[str, Provisioner] = {}
    for entry in entry_points(group=GROUP):
        provisioner: Provisioner = entry.load()(context)
        if provisioner.name in loaded:
            raise ValueError(
                f"two provisioners are named {provisioner.name!r}; "
                f"uninstall one ({entry.value} is the second)"
            )
        loaded[provisioner.name] = provisioner
    return loaded
