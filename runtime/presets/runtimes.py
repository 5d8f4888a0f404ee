"""Which runtime serves a Workspace's preset."""

from typing import Literal, get_args

from pykaito.api import labels
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.annotations import accelerator

Runtime = Literal["vllm", "transformers"]

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

#: Where neither Workspace nor operator name one.
DEFAULT_RUNTIME: Runtime = "vllm"


def runtime_of(workspace: Workspace, default: Runtime) -> Runtime:
    """Return the runtime that the annotation names, or the default.

    On CPUs the default is transformers: no image of vLLM for CPUs is published.
    """
    named = workspace.metadata.annotations.get(labels.RUNTIME)
    for runtime in RUNTIMES:
        if runtime == named:
            return runtime
    return "transformers" if accelerator(workspace) == "cpu" else default
