"""The registered names of the provisioners that come with the operator.

They are in Machines, which are also rendered where no provisioner is loaded.
"""

PREFERRED_NODES = "preferred_nodes"
KARPENTER = "karpenter"
KARPENTER_NODEPOOL = "karpenter_nodepool"
AZURE_ARM = "azure_arm"
