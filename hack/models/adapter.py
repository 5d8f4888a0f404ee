"""Make a small LoRA adapter for one of the small models, as peft saves it.

Usage: ``python -m hack.models.adapter --model DIR --out DIR [--seed 1]``.

Its factors are random and large enough to change what the model says. The same
model and seed give the same bytes each time.
"""

import argparse
import json
import os
import warnings
from pathlib import Path

# The folder of the base model is no name on a hub: nothing is to be asked there.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, logging

#: What peft writes beside the adapter, which no server reads.
NEEDLESS = ("README.md",)
RANK, ALPHA = 8, 16
#: Standard deviation of the factors: their product is as large as the weights.
SPREAD = 0.1


def save_adapter(folder: Path, model: Path, *, seed: int) -> None:
    """Write an adapter of all linear layers of the model in a folder."""
    logging.disable_progress_bar()
    base = AutoModelForCausalLM.from_pretrained(model)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(base, config)
    config.base_model_name_or_path = model.name
    torch.manual_seed(seed)
    for name, factor in adapted.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(factor, std=SPREAD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it finds no such model on the hub
        adapted.save_pretrained(folder)
    _order(folder / "adapter_config.json")
    for name in NEEDLESS:
        (folder / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        # Weights are saved for their owner alone, a server is someone else.
        path.chmod(0o644)


def _order(config: Path) -> None:
    """Sort what peft keeps in sets, whose order is another one each time."""
    fields = json.loads(config.read_text())
    fields["target_modules"] = sorted(fields["target_modules"])
    config.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Read the command line and write the adapter."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.models.adapter",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    text = "folder of the model that it is for"
    parser.add_argument("--model", type=Path, required=True, help=text)
    text = "folder to write; it may exist"
    parser.add_argument("--out", type=Path, required=True, help=text)
    parser.add_argument("--seed", type=int, default=1, help="of the random factors")
    arguments = parser.parse_args()
    save_adapter(arguments.out, arguments.model, seed=arguments.seed)
    written = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}: an adapter, {written / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
