"""The objects that serve a model: pure functions of Workspace and plan."""

from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.reconcilers.inference.manifests.deployments import deployment
from pykaito.reconcilers.inference.manifests.placement import affinity, bound_nodes
from pykaito.reconcilers.inference.manifests.preset_pod import revision_of
from pykaito.reconcilers.inference.manifests.services import service
from pykaito.reconcilers.inference.manifests.transformers_server import command

__all__ = [
    "ConfigFile",
    "affinity",
    "bound_nodes",
    "command",
    "deployment",
    "revision_of",
    "service",
]
