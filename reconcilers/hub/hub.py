"""Finds models that the catalogue does not have."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from pykaito.api.v1beta1 import inference as api
from pykaito.operator.clock import Clock
from pykaito.reconcilers.hub import errors, huggingface, registry
from pykaito.reconcilers.hub.answers import Answers
from pykaito.reconcilers.hub.folder import find_in_folder, image_of, in_catalogue
from pykaito.reconcilers.hub.web import WebError, new_client
from pykaito.runtime.presets.catalogue import Preset
from pykaito.runtime.presets.plan import PlanError

#: Seconds that a hub or a registry may take over one model, all in all.
LOOKUP_SECONDS: Final = 6.0
IMAGE_SECONDS: Final = registry.READING_SECONDS + LOOKUP_SECONDS


@dataclass(frozen=True, slots=True)
class Sources:
    """Where models are looked up."""

    #: The address of a hub, empty to ask none.
    endpoint: str = ""
    #: A folder with DIR/org/name/config.json.
    model_configs: Path | None = None
    #: Registries that speak plain HTTP, as host:port.
    insecure_registries: frozenset[str] = frozenset()


@final
class Hub:
    """Looks models up in a folder, then in their image, then on a hub.

    A lookup takes seconds at most, and what it found is kept.

    Args:
        sources: where to look.
        clock: time.
        held: callers that are not patient and wait nevertheless, at most.
    """

    def __init__(self, sources: Sources, clock: Clock, *, held: int = 1) -> None:
        self._sources = sources
        self._endpoint = sources.endpoint.rstrip("/")
        self._answers = Answers(clock, held=held)

    async def find(
        self,
        spec: api.Preset,
        revision: str = "",
        *,
        asker: str = "",
        patient: bool = True,
    ) -> Preset | None:
        """Return the model, None where the catalogue has to tell.

        Args:
            spec: what a Workspace says of it.
            revision: the commit on the hub that it has already; empty for the
                newest.
            asker: the Workspace's namespace; each has its turn.
            patient: wait for the answer however many others do.

        Raises:
            PlanError: the model cannot be had, for now or for good, and why.
        """
        if in_catalogue(spec.name):
            return None
        if folder := self._sources.model_configs:
            preset = await asyncio.to_thread(find_in_folder, folder, spec.name)
            if preset is not None:
                return preset
        image = image_of(spec)
        if "/" not in spec.name and not image:
            return None
        key = (spec.name.lower(), image, revision)
        return await self._answers.get(
            key,
            lambda: self._look_up(spec.name, image, revision),
            asker=asker,
            patient=patient,
        )

    async def _look_up(self, name: str, image: str, revision: str) -> Preset:
        if not image:
            return await self._on_hub(name, revision)
        try:
            return await self._in_image(name, image)
        except PlanError:
            # The same model on a hub has the same size.
            if "/" in name and self._endpoint:
                with contextlib.suppress(PlanError):
                    return await self._on_hub(name, revision)
            raise

    async def _on_hub(self, name: str, revision: str) -> Preset:
        if not self._endpoint:
            raise errors.offline(name)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS), new_client() as client:
                return await huggingface.fetch(client, self._endpoint, name, revision)
        except TimeoutError:
            cause = f"it took more than {LOOKUP_SECONDS:g} s"
        except WebError as error:
            cause = str(error)
        raise errors.hub_unreachable(name, self._endpoint, cause)

    async def _in_image(self, name: str, image: str) -> Preset:
        insecure = self._sources.insecure_registries
        try:
            async with asyncio.timeout(IMAGE_SECONDS), new_client() as client:
                return await registry.fetch(client, image, name, insecure)
        except TimeoutError:
            cause = f"it took more than {IMAGE_SECONDS:g} s"
        except WebError as error:
            cause = str(error)
        raise errors.registry_unreachable(image, cause)
