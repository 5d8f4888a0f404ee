"""What a plan needs that neither the spec nor the catalogue holds."""

from typing import Protocol, final

from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.inference_config import NO_CONFIG, InferenceConfig
from pykaito.runtime.presets.plan import NOTHING_KNOWN, Known


class Configs(Protocol):
    """Where settings of model servers are kept."""

    async def find(self, workspace: Workspace) -> InferenceConfig:
        """Return the settings of the Workspace's model server.

        Raises:
            PlanError: the Workspace names what is not there, or is wrong.
            ApiError: the API server did not tell.
        """


class ModelHub(Protocol):
    """Where models are that the catalogue does not have."""

    async def find(self, spec: api.Preset) -> Preset | None:
        """Return the model, None where the catalogue has to tell.

        Raises:
            PlanError: the model cannot be had, for now or for good, and why.
        """


@final
class Lookups:
    """Finds out what a Workspace refers to; one for reconcilers and webhook.

    Args:
        configs: where its settings are.
        hub: where its model is.
    """

    def __init__(self, configs: Configs, hub: ModelHub) -> None:
        self._configs = configs
        self._hub = hub

    async def known(self, workspace: Workspace) -> Known:
        """Return what the Workspace refers to.

        Raises:
            PlanError: it refers to what cannot be had, and why.
            ApiError: the API server did not tell.
        """
        if workspace.inference is None or workspace.inference.preset is None:
            return NOTHING_KNOWN
        return Known(
            preset=await self._hub.find(workspace.inference.preset),
            config=await self._configs.find(workspace),
        )


@final
class NoConfigs:
    """Configs of a cluster that has none."""

    async def find(self, workspace: Workspace) -> InferenceConfig:
        """Return that nothing is set."""
        del workspace
        return NO_CONFIG


@final
class NoHub:
    """A hub that is never asked: the catalogue tells all."""

    async def find(self, spec: api.Preset) -> Preset | None:
        """Return that the catalogue has to tell."""
        del spec
        return None
