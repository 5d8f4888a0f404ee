"""Weights images for the demo and the tests: small models, random weights."""

import fcntl
import subprocess
import sys

from hack import paths
from hack.cluster.progress import step
from hack.images.delivery import Delivered, deliver_weights


def deliver_model(architecture: str, *, private: bool = False) -> Delivered:
    """Make a model of the architecture, once, and bring its image to the nodes.

    Args:
        architecture: ``phi3``, ``falcon`` or ``llama``.
        private: Put it behind a login, where the cluster has such a registry.
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
    return deliver_weights(folder, architecture, private=private)
