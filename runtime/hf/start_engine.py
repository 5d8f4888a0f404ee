"""From flags to a running engine. Importing this module imports torch."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.batch_engine import BatchEngine
from pykaito.runtime.hf.cache_memory import cache_slots
from pykaito.runtime.hf.engine import Engine
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.kv_cache import KVCache
from pykaito.runtime.hf.loading import LoadedModel, load_model
from pykaito.runtime.hf.lora_files import AdapterFiles
from pykaito.runtime.hf.model_runner import ModelRunner, layer_shapes
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.prompts import PromptReader
from pykaito.runtime.hf.ragged_attention import UnsupportedModelError

log = logging.getLogger(__name__)

#: Fields of generation_config.json that requests may leave to the model.
DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class StartedEngine:
    """What the endpoints need once the model is there."""

    engine: Engine
    reader: PromptReader
    #: How the model's makers want tokens chosen, where a request is silent.
    defaults: Mapping[str, Any]
    #: Those that a request may ask for alone.
    adapters: Sequence[Adapter] = ()


def start_engine(
    settings: Settings,
    progress: Progress,
    adapters: Sequence[AdapterFiles] = (),
) -> StartedEngine:
    """Load the model and start generating for it; raises `LoadError`."""
    loaded = load_model(settings, progress, adapters)
    runner = start_runner(settings, loaded)
    progress.finish()
    return StartedEngine(
        engine=BatchEngine(
            loaded,
            runner,
            max_running=settings.max_num_seqs,
            max_waiting=settings.max_queue,
            # Whoever waited for it has been answered 504 by then.
            patience=settings.request_timeout,
        ),
        reader=PromptReader(
            loaded.tokenizer,
            chat_template=loaded.chat_template,
            context_length=_context_length(loaded, runner),
            vocabulary_size=loaded.vocabulary_size,
        ),
        defaults=_sampling_defaults(loaded),
        adapters=[
            one.adapter for one in adapters if one.adapter.name in loaded.choices
        ],
    )


def start_runner(settings: Settings, loaded: LoadedModel) -> ModelRunner | None:
    """Return what runs batches of requests, or None if the model does not allow it."""
    try:
        layers = layer_shapes(loaded.model)
        slots = cache_slots(
            layers,
            sequences=settings.max_num_seqs,
            context_length=loaded.context_length,
            limit=settings.kv_cache_memory_bytes,
        )
        runner = ModelRunner(loaded.model, KVCache(layers, slots))
        runner.check()
    except UnsupportedModelError as error:
        reason = f"the model cannot share a batch: {error}"
        log.warning("requests are answered one at a time", extra={"reason": reason})
        return None
    log.info("requests share a batch", extra={"cached_tokens": runner.cache.slots})
    return runner


def _context_length(loaded: LoadedModel, runner: ModelRunner | None) -> int:
    """Return the model's context, or as much of it as there is memory for."""
    if runner is None or runner.cache.longest >= loaded.context_length:
        return loaded.context_length
    log.warning(
        "the context is what the memory for keys and values holds",
        extra={"asked": loaded.context_length, "context_length": runner.cache.longest},
    )
    return runner.cache.longest


def _sampling_defaults(loaded: LoadedModel) -> dict[str, Any]:
    config = loaded.model.generation_config
    found = {name: getattr(config, name, None) for name in DEFAULTS}
    return {name: value for name, value in found.items() if value is not None}
