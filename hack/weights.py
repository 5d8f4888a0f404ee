"""Images of models and adapters for the demo and the tests: small and random."""

import fcntl
import subprocess
import sys
from pathlib import Path

from hack import paths
from hack.cluster.progress import step
from hack.images.delivery import Delivered, deliver_adapter_files, deliver_weights


def deliver_model(architecture: str, *, private: bool = False) -> Delivered:
    """Make a model of the architecture, once, and bring its image to the nodes.

    Args:
        architecture: ``phi3``, ``falcon`` or ``llama``.
        private: Put it behind a login, where the cluster has such a registry.
    """
    return deliver_weights(model_folder(architecture), architecture, private=private)


def deliver_adapter(architecture: str, seed: int = 1) -> str:
    """Make a LoRA adapter, once, and bring its image to the nodes.

    Args:
        architecture: Of the model that it is for, as in `deliver_model`.
        seed: Each gives an adapter of its own.
    """
    folder = adapter_folder(architecture, seed)
    return deliver_adapter_files(folder, folder.name)


def model_folder(architecture: str) -> Path:
    """Return the folder with a model's files, which are made on the first call."""
    folder = paths.CACHE / "models" / architecture
    command = ["hack.models", "--out", str(folder), "--architecture", architecture]
    text = f"a small model of the architecture {architecture}"
    return _made_once(folder, "config.json", command, text)


def adapter_folder(architecture: str, seed: int = 1) -> Path:
    """Return the folder with an adapter's files, which are made on the first call."""
    model = model_folder(architecture)
    folder = paths.CACHE / "adapters" / f"{architecture}-{seed}"
    command = ["hack.models.adapter", "--model", str(model), "--out", str(folder)]
    command += ["--seed", str(seed)]
    text = f"a small adapter for {architecture}"
    return _made_once(folder, "adapter_config.json", command, text)


def _made_once(folder: Path, file: str, command: list[str], text: str) -> Path:
    """Run a module that writes a folder, unless the folder has the file already."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / file).exists():
            with step(text):
                subprocess.run(
                    [sys.executable, "-m", *command],
                    check=True,
                    stdout=subprocess.DEVNULL,
                    timeout=600,
                )
    return folder
