"""A model of random weights in a folder, and what a decoding step reads of it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from hack import paths

#: Bytes of an element, by safetensors' name of its type.
_WIDTHS = {"BF16": 2, "F16": 2, "F32": 4}
_EMBEDDING = "model.embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class StepBytes:
    """What a step of decoding reads.

    Attributes:
        weights: Bytes of weights, once for all sequences.
        per_token: Bytes of keys and values for each token of each sequence.
    """

    weights: int
    per_token: int


def make_model(folder: Path, size: str, device: str = "cpu") -> Path:
    """Write a model; no token of its ends an answer."""
    command = [sys.executable, "-m", "hack.models", "--out", str(folder)]
    command += ["--architecture", "llama", "--size", size, "--device", device]
    subprocess.run(command, cwd=paths.ROOT, check=True, stdout=subprocess.DEVNULL)
    for name in ("config.json", "generation_config.json"):
        file = folder / name
        fields = json.loads(file.read_text())
        file.write_text(json.dumps(fields | {"eos_token_id": None}))
    return folder


def parameters(folder: Path) -> int:
    """Return how many parameters a model has."""
    return sum(prod(tensor["shape"]) for tensor in _tensors(folder).values())


def step_bytes(folder: Path) -> StepBytes:
    """Return what a step reads of a model of the Llama family."""
    config = json.loads((folder / "config.json").read_text())
    sizes = {
        name: prod(tensor["shape"]) * _WIDTHS[tensor["dtype"]]
        for name, tensor in _tensors(folder).items()
    }
    weights = sum(sizes.values())
    if not config["tie_word_embeddings"]:
        # Of a table that is looked up a row a token is read.
        weights -= sizes[_EMBEDDING]
    width = config["head_dim"] * _WIDTHS["BF16"]
    per_layer = 2 * config["num_key_value_heads"] * width
    return StepBytes(weights, config["num_hidden_layers"] * per_layer)


def _tensors(folder: Path) -> dict[str, Any]:
    """Return shape and type of each tensor, from the heads of the files."""
    found: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            found |= json.loads(file.read(length))
    found.pop("__metadata__", None)
    return found
