"""The model's folder, fetched from the hub where the command names a hub's model."""

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.vllm.command import names_of, value_of, without
from pykaito.runtime.vllm.download import Wish, download, is_hub_id
from pykaito.runtime.vllm.hub_files import FORMATS

#: Tells the libraries to ask no hub.
OFFLINE = "HF_HUB_OFFLINE"
#: Has vLLM take models from another hub, of another protocol.
MODELSCOPE = "VLLM_USE_MODELSCOPE"

#: Options that may have vLLM look at the hub for other models than this one.
OTHERS = frozenset(
    {
        "tokenizer",
        "hf-config-path",
        "speculative-config",
        "lora-modules",
        "trust-remote-code",
    }
)


def with_model(
    given: Sequence[str],
    options: Mapping[str, Any],
    environ: MutableMapping[str, str],
    progress: Progress,
) -> list[str]:
    """Return vLLM's flags with the model's folder instead of its name at a hub.

    A model of a format that is none of ours to choose files for is left to vLLM.

    Args:
        given: vLLM's flags of the pod's command.
        options: those of the user's file.
        environ: is told to ask no hub any more.
        progress: is told of a download.

    Raises:
        LoadError: the model cannot be had.
    """
    model = value_of("model", given, options) or ""
    load_format = value_of("load-format", given, options) or "auto"
    elsewhere = environ.get(MODELSCOPE, "").lower() in {"1", "true"}
    if elsewhere or load_format not in FORMATS or not is_hub_id(model):
        return list(given)
    cache = value_of("download-dir", given, options)
    folder = download(
        Wish(
            model=model,
            revision=value_of("revision", given, options),
            cache=Path(cache) if cache else None,
            load_format=load_format,
        ),
        progress,
    )
    names = names_of(given, options)
    if not names & OTHERS:
        environ[OFFLINE] = "1"
    named = () if "served-model-name" in names else (f"--served-model-name={model}",)
    return [f"--model={folder}", *named, *without("model", given)]
