"""Nodes that Karpenter makes, asked for in its own objects.

`node_claims` has a NodeClaim for each Machine, `node_pools` a NodePool of one node.
Either way it is Karpenter that talks to the cloud, and nothing here knows a credential.
"""
