"""What a plan needs that neither the spec nor the catalogue holds."""

from dataclasses import replace
from typing import Protocol, final

from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.informer import Informer
from pykaito.operator.objects import Key
from pykaito.reconcilers.configs import ConfigMaps
from pykaito.reconcilers.inference.manifests import ConfigFile, revision_of
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.inference_config import NO_CONFIG
from pykaito.runtime.presets.plan import Known
from pykaito.runtime.presets.runtimes import Runtime


class ModelHub(Protocol):
    """Where models are that the catalogue does not have."""

    async def find(
        self, spec: api.Preset, revision: str, *, asker: str, patient: bool
    ) -> Preset | None:
        """Return the model, None where the catalogue has to tell.

        Args:
            spec: what a Workspace says of it.
            revision: the commit that serves already; empty for the newest.
            asker: the Workspace's namespace.
            patient: wait for a slow answer; who does not comes back for it.

        Raises:
            PlanError: the model cannot be had, for now or for good, and why.
        """


@final
class Lookups:
    """Finds out what a Workspace refers to; one for reconcilers and webhook.

    Args:
        configs: where its settings are.
        hub: where its model is.
        deployments: those of Workspaces. One that there is keeps the commit of its
            model: nobody asked for another, which would be a restart.
        default_runtime: what serves presets whose Workspace names no runtime.

    Attributes:
        configs: as given.
        nothing: what is known where nothing could be looked up.
    """

    def __init__(
        self,
        configs: ConfigMaps,
        hub: ModelHub,
        deployments: Informer,
        *,
        default_runtime: Runtime,
    ) -> None:
        self.configs = configs
        self.nothing = Known(default_runtime=default_runtime)
        self._hub = hub
        self._deployments = deployments

    async def known(self, workspace: Workspace, *, patient: bool = False) -> Known:
        """Return what the Workspace refers to.

        Args:
            workspace: its spec.
            patient: wait for slow answers, as who has a deadline of its own may.
                Reconciles are few at once, and not all of them may wait.

        Raises:
            PlanError: it refers to what cannot be had, and why.
            ApiError: the API server did not tell.
        """
        await self.configs.check_training(workspace)
        if workspace.inference is None or workspace.inference.preset is None:
            return self.nothing
        config = await self.configs.find(workspace)
        at = Key(workspace.metadata.namespace, workspace.metadata.name)
        deployed = self._deployments.store.get(at)
        return replace(
            self.nothing,
            preset=await self._hub.find(
                workspace.inference.preset,
                revision_of(deployed) if deployed else "",
                asker=workspace.metadata.namespace,
                patient=patient,
            ),
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

    async def find(
        self, spec: api.Preset, revision: str, *, asker: str, patient: bool
    ) -> Preset | None:
        """Return that the catalogue has to tell."""
        del spec, revision, asker, patient
        return None
