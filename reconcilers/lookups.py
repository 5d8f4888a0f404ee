"""What a plan needs that neither the spec nor the catalogue holds."""

from typing import Protocol, final

from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.inference.manifests import ConfigFile
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.inference_config import NO_CONFIG
from pykaito.runtime.presets.plan import NOTHING_KNOWN, Known


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

    Attributes:
        configs: as given.
    """

    def __init__(self, configs: ConfigMaps, hub: ModelHub) -> None:
        self.configs = configs
        self._hub = hub

    async def known(self, workspace: Workspace) -> Known:
        """Return what the Workspace refers to.

        Raises:
            PlanError: it refers to what cannot be had, and why.
            ApiError: the API server did not tell.
        """
        if workspace.inference is None or workspace.inference.preset is None:
            return NOTHING_KNOWN
        config = await self.configs.find(workspace)
        return Known(
            preset=await self._hub.find(workspace.inference.preset),
            config=config.settings if config else NO_CONFIG,
        )

    async def config_file(self, workspace: Workspace) -> ConfigFile | None:
        """Return the settings as the Workspace's pods get them, None for none.

        Raises:
            PlanError: they cannot be had, and why.
            ApiError: the API server did not tell.
        """
        config = await self.configs.find(workspace)
        return config.file if config else None


@final
class NoHub:
    """A hub that is never asked: the catalogue tells all."""

    async def find(self, spec: api.Preset) -> Preset | None:
        """Return that the catalogue has to tell."""
        del spec
        return None
