"""Model and tokenizer from a folder or the hub, ready to generate.

This is the first module that imports torch and transformers, which takes
seconds: the server imports it on a thread, with its port open already.
"""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from pykaito.runtime.hf.adapter_choice import Choice
from pykaito.runtime.hf.engine import GenerationRequest
from pykaito.runtime.hf.flags import Settings
from pykaito.runtime.hf.hub import HubAnswer, ask_hub, cache_folder
from pykaito.runtime.hf.lora_correction import correct_by_choice
from pykaito.runtime.hf.lora_files import AdapterFiles
from pykaito.runtime.hf.lora_merge import merge_adapters
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.hf.packed_weights import pack
from pykaito.runtime.hf.progress import Download, Progress

log = logging.getLogger(__name__)

#: Context length when neither the model nor its tokenizer says one.
FALLBACK_CONTEXT = 2048
#: What transformers calls its bar of the weights that are loaded.
WEIGHTS_BAR = "Loading weights"
#: Tokenizers without a limit report one beyond this.
NO_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that has generated its first token."""

    model: Any
    tokenizer: Any
    #: Most tokens of prompt and answer together.
    context_length: int
    vocabulary_size: int
    chat_template: str | None
    #: What the names of adapters stand for.
    choices: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def device(self) -> Any:
        """Where the model's inputs must be."""
        return self.model.device

    def decode(self, token_ids: list[int]) -> str:
        """Return the tokens' text, less special tokens."""
        text: str = self.tokenizer.decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def choice(self, request: GenerationRequest) -> Choice:
        """Return which adapter is to answer a request."""
        return None if request.adapter is None else self.choices[request.adapter]

    def end_tokens(self, request: GenerationRequest) -> frozenset[int]:
        """Return the tokens that end a sequence of this request."""
        ends = request.options.get("eos_token_id")
        if ends is None:
            ends = self.model.generation_config.eos_token_id
        if ends is None:
            return frozenset()
        return frozenset([ends] if isinstance(ends, int) else ends)


def load_model(
    settings: Settings,
    progress: Progress,
    adapters: Sequence[AdapterFiles] = (),
) -> LoadedModel:
    """Load the model that the flags describe; takes seconds to many minutes.

    Args:
        settings: The flags.
        progress: Told what is being done.
        adapters: What to merge into its weights, and to answer by name.

    Raises:
        LoadError: if it cannot be served.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source = settings.pretrained_model_name_or_path
    quantization = _quantization(settings, adapters)
    fetched = settings.allow_remote_files and not Path(source).is_dir()
    hub = ask_hub(source, settings.revision) if fetched else HubAnswer()
    common = {
        "revision": settings.revision,
        "trust_remote_code": settings.trust_remote_code,
        "local_files_only": not settings.allow_remote_files or hub.silent,
    }
    try:
        progress.begin("loading the tokenizer")
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **common)
        if fetched:
            progress.begin_download(Download.begin(cache_folder(source), hub.weights))
        with _counting_weights(progress):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                source,
                dtype=settings.torch_dtype,
                # Several GPUs share a model that is too large for one.
                device_map="auto" if torch.cuda.is_available() else None,
                quantization_config=quantization,
                **common,
            ).eval()
    except Exception as error:  # a model's own code may raise anything
        log.info("loading failed", exc_info=error)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LoadError(f"cannot load the model {source!r}: {reason}") from error
    choices: Mapping[str, Choice] = {}
    if adapters:
        progress.begin("merging the adapters")
        merge_adapters(model, adapters)
    pack(model)
    if adapters:
        choices = correct_by_choice(model, adapters)
    _set_pad_token(model, tokenizer)
    loaded = LoadedModel(
        model=model,
        tokenizer=tokenizer,
        context_length=_context_length(settings, model, tokenizer),
        vocabulary_size=model.get_input_embeddings().num_embeddings,
        chat_template=settings.chat_template or tokenizer.chat_template,
        choices=choices,
    )
    progress.begin("generating a first token")
    _generate_one_token(loaded)
    return loaded


@contextmanager
def _counting_weights(progress: Progress) -> Iterator[None]:
    """Let transformers' bar of loaded weights move ours, while the block runs."""

    def bar(
        factory: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Any:
        made = factory(*args, **options)
        if options.get("desc") != WEIGHTS_BAR:
            return made
        progress.load(0)
        return _Counted(made, len(args[0]), progress)

    previous = transformers.logging.set_tqdm_hook(bar)
    try:
        yield
    finally:
        transformers.logging.set_tqdm_hook(previous)


class _Counted:
    """A bar of transformers that tells how far it is; else it is as it was."""

    def __init__(self, bar: Any, total: int, progress: Progress) -> None:
        self._bar = bar
        self._total = total
        self._progress = progress

    def __iter__(self) -> Iterator[Any]:
        for done, item in enumerate(self._bar, 1):
            yield item
            self._progress.load(done / self._total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bar, name)


def _quantization(settings: Settings, adapters: Sequence[AdapterFiles]) -> Any:
    if not (settings.load_in_4bit or settings.load_in_8bit):
        return None
    flag = "--load_in_4bit" if settings.load_in_4bit else "--load_in_8bit"
    if adapters:
        raise LoadError(
            f"{flag}: found together with adapters, which cannot be added to quantised "
            "weights exactly; leave the flag or the adapters away"
        )
    if not torch.cuda.is_available():
        raise LoadError(f"{flag}: needs a GPU, found none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise LoadError(f"{flag}: needs the package bitsandbytes, which is missing")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=settings.load_in_4bit,
        load_in_8bit=settings.load_in_8bit,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _set_pad_token(model: Any, tokenizer: Any) -> None:
    """Give the model a token for the rows of a batch that have ended."""
    config = model.generation_config
    if config.pad_token_id is not None:
        return
    if tokenizer.pad_token_id is not None:
        config.pad_token_id = tokenizer.pad_token_id
        return
    ends = config.eos_token_id
    config.pad_token_id = ends[0] if isinstance(ends, list) else ends or 0


def _context_length(settings: Settings, model: Any, tokenizer: Any) -> int:
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None)
    if longest is None:
        longest = tokenizer.model_max_length
        if longest > NO_LIMIT:
            longest = FALLBACK_CONTEXT
    if settings.max_model_len is None:
        return int(longest)
    if settings.max_model_len > longest:
        log.warning(
            "the context is the model's own, which is shorter than asked for",
            extra={"asked": settings.max_model_len, "context_length": int(longest)},
        )
    return min(settings.max_model_len, int(longest))


def _generate_one_token(loaded: LoadedModel) -> None:
    """Fail now rather than at the first request."""
    prompt = torch.zeros((1, 1), dtype=torch.long, device=loaded.device)
    try:
        with torch.inference_mode():
            loaded.model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=1
            )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"the model generates nothing: {reason}") from error
