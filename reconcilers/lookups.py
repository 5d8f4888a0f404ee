"""What a plan needs that neither the spec nor the catalogue holds."""

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.plan import Known


class Lookups:
    """Finds out what a Workspace refers to; one for reconcilers and webhook."""

    async def known(self, workspace: Workspace) -> Known:
        """Return what the Workspace refers to.

        Raises:
            PlanError: it refers to what cannot be had, and why.
        """
        del workspace
        return Known()
