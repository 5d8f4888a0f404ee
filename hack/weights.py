"""Weights images for the demo and the tests: small models, random weights."""

import fcntl
import subprocess
import sys

from hack import paths
from hack.cluster.progress import step
from hack.images.registry import Registry, local, push
from hack.images.packing import pack_weights


def push_weights(architecture: str, registry: Registry | None = None) -> str:
    """Make a model of the architecture, once; return its image in the registry.

    Args:
        architecture: ``phi3``, ``falcon`` or ``llama``.
        registry: where the image goes; the cluster's open one by default.
    """
    models = paths.CACHE / "models"
    models.mkdir(parents=True, exist_ok=True)
    folder = models / architecture
    with (models / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "config.json").exists():
            command = [sys.executable, "-m", "hack.models", "--out", str(folder)]
            command += ["--architecture", architecture]
            with step(f"a small model of the architecture {architecture}"):
                subprocess.run(
                    command, check=True, stdout=subprocess.DEVNULL, timeout=600
                )
    registry = registry or local()
    built = pack_weights(folder, architecture)
    push(built, registry)
    return registry.reference(built)
