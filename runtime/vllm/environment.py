"""The process's environment, settled before vLLM is imported, which reads it once."""

import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from pykaito.runtime.hf.environment import cache_root

#: vLLM has endpoints for adapters "for development", which load from any path.
LORA_ENDPOINTS = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"

#: Where the adapters' files are, for what vLLM makes within its own process.
ADAPTERS_FOLDER = "KAITO_ADAPTERS_DIR"


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Set what vLLM and its libraries read. What a user has set stays.

    What they make goes below the temporary folder, or the one that KAITO_CACHE_DIR
    names, since a container's root file system may be read-only; nothing is reported
    to anyone.
    """
    scratch = cache_root(environ)
    defaults = {
        "HF_HOME": str(scratch / "huggingface"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torchinductor"),
        "VLLM_CACHE_ROOT": str(scratch / "vllm"),
        "VLLM_CONFIG_ROOT": str(Path(tempfile.gettempdir(), "vllm-config")),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # How long a model may take is for the pod's startup probe to say.
        "VLLM_ENGINE_READY_TIMEOUT_S": str(24 * 3600),
        # Longer than clients keep theirs (httpx, and so openai: 5, as vLLM does): who
        # reuses a connection that is just being closed gets no reply.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        environ.setdefault(name, value)
    environ[LORA_ENDPOINTS] = "0"
