"""Make a small model of a real architecture, with random weights.

Usage: ``python -m hack.models --out DIR --architecture phi3 [--size tiny]``.

It takes seconds and no network, and the same checkout, architecture, size and
seed give the same bytes each time. The folder is what a weights image holds
under ``/workspace/weights``. The model speaks no language: it is there so that
servers, images and tests have the real code, file formats and token counts.
"""

import argparse
from pathlib import Path

from hack.models.architectures import ARCHITECTURES, SIZES
from hack.models.corpus import corpus_of
from hack.models.model import save_model

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Read the command line and write the model."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.models",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    text = "folder to write; it may exist"
    parser.add_argument("--out", type=Path, required=True, help=text)
    text = "whose code runs the model"
    choices = sorted(ARCHITECTURES)
    parser.add_argument("--architecture", choices=choices, required=True, help=text)
    text = "tiny: about 3 M parameters; small: about 60 M; large: about 3 B"
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny", help=text)
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    text = "what draws the weights; a GPU is faster, and draws others"
    parser.add_argument("--device", default="cpu", help=text)
    arguments = parser.parse_args()
    parameters = save_model(
        arguments.out,
        architecture=ARCHITECTURES[arguments.architecture],
        size=SIZES[arguments.size],
        corpus=corpus_of(REPOSITORY),
        seed=arguments.seed,
        device=arguments.device,
    )
    written = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(
        f"{arguments.out}: {arguments.architecture}, "
        f"{parameters / 1e6:.1f} M parameters, {written / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
