"""A model as a hub has it; nobody loads it, so that its weights are any bytes."""

from pathlib import Path

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
WEIGHTS_BYTES = 2 << 20


def published_model(tmp_path: Path) -> Path:
    """Make the folder of a model's files."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    for number, name in enumerate((*SHARDS, "pytorch_model.bin")):
        (folder / name).write_bytes(bytes([number]) * WEIGHTS_BYTES)
    return folder
