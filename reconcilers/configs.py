"""Settings of model servers and tuning jobs, kept in ConfigMaps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.operator.client import Client
from pykaito.operator.errors import NotFoundError
from pykaito.operator.informer import Informer
from pykaito.operator.objects import CONFIG_MAPS, Key, Object, namespace
from pykaito.operator.objects import resource_version as version_of
from pykaito.reconcilers.config_content import (
    EMPTY,
    TUNING_FIELD,
    Config,
    not_found,
    read_config,
    read_training_config,
)
from pykaito.runtime.presets.plan import PlanError
from pykaito.runtime.presets.tuning_config import KEY as TRAINING_KEY

#: In the operator's own namespace: the settings of those that name none.
DEFAULTS = "inference-params-template"

#: More are not in use at once; what is dropped costs a request to fetch again.
MOST_KEPT = 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    resource_version: str
    outcome: Config | PlanError


@final
class ConfigMaps:
    """Reads the ConfigMaps that Workspaces name, and the defaults for the others.

    Args:
        client: fetches the content.
        metadata: of all ConfigMaps of the cluster, without their content.
        system: the operator's namespace, where the defaults are.

    Attributes:
        metadata: as given; its changes concern those that `index` files.
    """

    def __init__(self, client: Client, metadata: Informer, system: str) -> None:
        self.metadata = metadata
        self._client = client
        self._defaults = Key(system, DEFAULTS)
        self._kept: dict[Key, _Kept] = {}

    def index(self, workspace: Object) -> Iterable[str]:
        """File a Workspace under the ConfigMap that its settings come from."""
        tuning = workspace.get("tuning")
        if isinstance(tuning, dict) and tuning.get("config"):
            return (str(Key(namespace(workspace), tuning["config"])),)
        inference = workspace.get("inference")
        if not isinstance(inference, dict) or not inference.get("preset"):
            return ()
        named = inference.get("config")
        return (str(Key(namespace(workspace), named) if named else self._defaults),)

    async def find(self, workspace: Workspace) -> Config | None:
        """Return the settings of a preset's model server, None for none.

        Defaults that set nothing, as those of the chart, are none: pods do without.

        Raises:
            PlanError: they are not there, or no settings.
            ApiError: the API server did not tell.
        """
        inference = workspace.inference
        if inference is None or inference.preset is None:
            return None
        named = inference.config
        at = Key(workspace.metadata.namespace, named) if named else self._defaults
        known = self.metadata.store.get(at)
        if known is None and not named:
            return None
        kept = self._kept.get(at)
        if kept is None or known is None or kept.resource_version != version_of(known):
            kept = await self._fetch(at, named or "")
        if isinstance(kept.outcome, PlanError):
            # Not itself: with each raise its traceback would grow.
            raise PlanError(kept.outcome.reason, str(kept.outcome))
        return kept.outcome if named or kept.outcome.file.content != EMPTY else None

    async def check_training(self, workspace: Workspace) -> None:
        """Check the parameters of a tuning job, where it names some.

        Raises:
            PlanError: they are not there, or wrong.
            ApiError: the API server did not tell.
        """
        tuning = workspace.tuning
        if tuning is None or not tuning.config:
            return
        at = Key(workspace.metadata.namespace, tuning.config)
        try:
            found = await self._client.get(CONFIG_MAPS, at.name, at.namespace)
        except NotFoundError:
            raise not_found(at, TUNING_FIELD, TRAINING_KEY) from None
        read_training_config(found, at, tuning.method)

    async def _fetch(self, at: Key, named: str) -> _Kept:
        """Read a ConfigMap, also one that the cache has not seen yet."""
        try:
            found = await self._client.get(CONFIG_MAPS, at.name, at.namespace)
        except NotFoundError:
            self._kept.pop(at, None)
            return _Kept("", not_found(at))
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        kept = self._kept[at] = _Kept(version_of(found), _read(found, at, named))
        return kept


def _read(found: Object, at: Key, named: str) -> Config | PlanError:
    try:
        return read_config(found, at, named)
    except PlanError as error:
        return error.with_traceback(None)
