"""From flags to a running engine. Importing this module imports torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pykaito.runtime.hf.engine import Engine
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.generate_engine import GenerateEngine
from pykaito.runtime.hf.loading import LoadedModel, load_model
from pykaito.runtime.hf.lora_files import AdapterFiles
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.prompts import PromptReader

#: Fields of generation_config.json that requests may leave to the model.
DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class StartedEngine:
    """What the endpoints need once the model is there."""

    engine: Engine
    reader: PromptReader
    #: How the model's makers want tokens chosen, where a request is silent.
    defaults: Mapping[str, Any]


def start_engine(
    settings: Settings,
    progress: Progress,
    adapters: Sequence[AdapterFiles] = (),
) -> StartedEngine:
    """Load the model and start generating for it; raises `LoadError`."""
    loaded = load_model(settings, progress, adapters)
    progress.finish()
    return StartedEngine(
        engine=GenerateEngine(loaded, max_waiting=settings.max_queue),
        reader=PromptReader(
            loaded.tokenizer,
            chat_template=loaded.chat_template,
            context_length=loaded.context_length,
            vocabulary_size=loaded.vocabulary_size,
        ),
        defaults=_sampling_defaults(loaded),
    )


def _sampling_defaults(loaded: LoadedModel) -> dict[str, Any]:
    config = loaded.model.generation_config
    found = {name: getattr(config, name, None) for name in DEFAULTS}
    return {name: value for name, value in found.items() if value is not None}
