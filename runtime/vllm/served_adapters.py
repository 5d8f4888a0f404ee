"""The adapters that vLLM serves, changed from within its process.

A name gets new weights under a new number and from a new folder. So a request that is
under way ends with the weights that it began with, and no keys and values of the old
weights are found in the prefix cache, which knows adapters by name and folder. Loading
in place would do neither.

Both versions stay in vLLM's slots until the old one's requests have ended. vLLM takes
requests for one adapter if they have the same name, and looks after one version alone:
it fails if it has put the other one out of its slot meanwhile. So nothing is loaded
without a slot to spare.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.vllm.adapters import Lora
from pykaito.runtime.vllm.flights import Flights

#: Seconds that vLLM may take to load an adapter from the disk, or to drop it.
ENGINE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class _Retired:
    """A version that no new request gets."""

    number: int
    #: When the last request came that may have it.
    mark: int


class ServedAdapters:
    """What vLLM's app serves beside the base model.

    Args:
        state: of vLLM's app.
        flights: the requests under way.
        request: vLLM's LoRARequest.
    """

    def __init__(
        self, state: Any, flights: Flights, request: Callable[..., Any]
    ) -> None:
        self._models = state.openai_serving_models
        self._engine = state.engine_client
        config = state.vllm_config.lora_config
        self._slots = config.max_loras if config else 0
        self._flights = flights
        self._request = request
        self._retired: list[_Retired] = []

    def folders(self) -> dict[str, str]:
        """Return where each adapter was loaded from, by its name."""
        return {name: it.lora_path for name, it in self._models.lora_requests.items()}

    def has_room(self) -> bool:
        """Whether one more can be loaded."""
        return len(self._models.lora_requests) + len(self._retired) < self._slots

    async def load(self, lora: Lora) -> None:
        """Serve an adapter, or another version of it, from the next request on.

        Raises:
            Exception: vLLM did not load it; what was served is served.
        """
        served = self._models.lora_requests
        number = self._models.lora_id_counter.inc(1)
        request = self._request(
            lora_name=lora.name, lora_int_id=number, lora_path=str(lora.folder)
        )
        async with self._models.lora_resolver_lock[lora.name]:
            try:
                async with asyncio.timeout(ENGINE_SECONDS):
                    await self._engine.add_lora(request)
            except BaseException:
                # It may have got a slot all the same.
                self._retire(number)
                raise
            before = served.get(lora.name)
            served[lora.name] = request
        if before is not None:
            self._retire(before.lora_int_id)

    async def unload(self, name: str) -> None:
        """Serve an adapter no more: the next request for it finds no such model."""
        async with self._models.lora_resolver_lock[name]:
            request = self._models.lora_requests.pop(name)
        self._retire(request.lora_int_id)

    async def release(self) -> None:
        """Have vLLM drop the versions whose requests have ended."""
        for retired in list(self._retired):
            if not self._is_done(retired):
                continue
            async with asyncio.timeout(ENGINE_SECONDS):
                await self._engine.remove_lora(retired.number)
            self._retired.remove(retired)

    def _retire(self, number: int) -> None:
        self._retired.append(_Retired(number, self._flights.mark()))

    def _is_done(self, retired: _Retired) -> bool:
        """Whether neither a client nor the engine has to do with a version."""
        generating = self._engine.output_processor.request_states.values()
        return self._flights.have_landed(retired.mark) and not any(
            state.lora_request and state.lora_request.lora_int_id == retired.number
            for state in generating
        )
