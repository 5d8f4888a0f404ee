"""Doubts about who makes nodes, where it is not known what is installed: pure.

The operator knows, and refuses what it does not have
(`pykaito.reconcilers.provisioning`). Here names are believed, since a provisioner may
be of another distribution.
"""

import difflib
from collections.abc import Iterator

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.provisioners.names import (
    AZURE_ARM,
    KARPENTER,
    KARPENTER_NODEPOOL,
    PREFERRED_NODES,
)
from pykaito.runtime.presets.annotations import field_of

#: Provisioners of this release, in the order that a message names them.
RELEASED = (AZURE_ARM, KARPENTER, KARPENTER_NODEPOOL, PREFERRED_NODES)


def doubts_of_maker(workspace: Workspace, maker: str | None) -> Iterator[str]:
    """Yield that no provisioner of this release has the name, which may be misspelt."""
    if maker is None or maker in RELEASED:
        return
    named = labels.PROVISIONER in workspace.metadata.annotations
    where = field_of(labels.PROVISIONER) if named else "--provisioner"
    near = difflib.get_close_matches(maker, RELEASED, n=1)
    yield (
        f"{where}: found {maker!r}; this release has {', '.join(RELEASED)}"
        f"{f'; did you mean {near[0]!r}?' if near else ''}"
    )
