"""Whether to do without the hub: told before vLLM is imported.

vLLM asks the hub which files a model has, whichever are here, and would not start
while the hub is away.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

PUBLIC_HUB = "https://huggingface.co"

#: Read by the libraries of the hub when they are imported.
OFFLINE = "HF_HUB_OFFLINE"

#: Seconds for an answer, whatever it says.
TIMEOUT = 10.0


def is_kept(model: str, environ: Mapping[str, str]) -> bool:
    """Whether the cache has a hub's model since an earlier start.

    Args:
        model: the folder of a model, or its id.
        environ: says where the cache is.
    """
    cache = environ.get("HF_HUB_CACHE") or str(Path(environ["HF_HOME"], "hub"))
    snapshots = Path(cache, f"models--{model.replace('/', '--')}", "snapshots")
    return not Path(model).is_dir() and snapshots.is_dir()


def is_silent(model: str, environ: Mapping[str, str]) -> bool:
    """Whether the hub has no answer about a model, not even a refusal."""
    endpoint = environ.get("HF_ENDPOINT") or PUBLIC_HUB
    request = urllib.request.Request(  # noqa: S310 - the operator's own setting
        f"{endpoint.rstrip('/')}/api/models/{model}", method="HEAD"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - same
            return False
    except urllib.error.HTTPError as answer:
        return answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    except OSError:
        return True
