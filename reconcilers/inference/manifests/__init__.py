"""The objects that serve a model: pure functions of Workspace and plan."""

from pykaito.reconcilers.inference.manifests.adapters_file import (
    config_map as adapter_list,
)
from pykaito.reconcilers.inference.manifests.adapters_file import (
    describe_change,
    list_name,
)
from pykaito.reconcilers.inference.manifests.brought import (
    brings_adapters,
    is_template_of,
    with_brought,
)
from pykaito.reconcilers.inference.manifests.claims import mounted_claims
from pykaito.reconcilers.inference.manifests.config import ConfigFile
from pykaito.reconcilers.inference.manifests.deployments import deployment
from pykaito.reconcilers.inference.manifests.placement import affinity, bound_nodes
from pykaito.reconcilers.inference.manifests.preset_pod import revision_of
from pykaito.reconcilers.inference.manifests.services import service
from pykaito.reconcilers.inference.manifests.transformers_server import command

__all__ = [
    "ConfigFile",
    "adapter_list",
    "affinity",
    "bound_nodes",
    "brings_adapters",
    "command",
    "deployment",
    "describe_change",
    "is_template_of",
    "list_name",
    "mounted_claims",
    "revision_of",
    "service",
    "with_brought",
]
