"""A NodeClaim for each Machine.

The operator decides when a node comes and goes, Karpenter how. Nothing else disrupts
it: it is marked so, and belongs to no NodePool.
"""

from pykaito.api.v1alpha1.machine import Machine
from pykaito.operator.objects import Object
from pykaito.provisioners.errors import ProvisionError
from pykaito.provisioners.karpenter.base import KarpenterProvisioner, claims_informer
from pykaito.provisioners.karpenter.manifests import node_claim
from pykaito.provisioners.karpenter.wanted import Entry
from pykaito.provisioners.names import KARPENTER
from pykaito.provisioners.protocol import Context, Observation


class NodeClaims(KarpenterProvisioner):
    """Has Karpenter make a node for a NodeClaim."""

    name = KARPENTER

    def __init__(self, context: Context) -> None:
        super().__init__(context, claims_informer(context))

    def manifest(self, machine: Machine) -> Object:
        """Return the NodeClaim."""
        return node_claim(machine, self._settings)

    async def observe_made(self, machine: Machine, made: Object) -> Observation:
        """Fold the NodeClaim's conditions and its node."""
        return self._observe_claim(machine, made)

    async def explain(self, machine: Machine, entry: Entry) -> ProvisionError | None:
        """Say why the NodeClaim is going or gone."""
        return await self._explain_claim(machine, entry)
