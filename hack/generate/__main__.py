"""`python -m hack.generate` writes the files that are made from the code.

They are the CRDs, the schemas that api/ reads and the tables of docs/api.md, from
the models in api/, those of docs/preset*.md, from the catalogue and the estimator, and
the description of the transformers runtime's API.

With --check it writes nothing and exits 1, printing a diff, when one is stale.
"""

import argparse
import difflib
import sys
from pathlib import Path

from hack.generate import crds, docs, openapi, schemas
from pykaito.api.definitions import DEFINITIONS
from pykaito.api.schemas import file_name

ROOT = Path(__file__).parents[2]
#: Pages of docs/ with tables that are made here.
PAGES = ("api.md", "presets.md", "preset-sizes.md")


def generated(root: Path) -> dict[Path, str]:
    """Return what each generated file under `root` should hold."""
    manifests = {
        root / "manifests" / "crds" / crds.file_name(kind): crds.to_yaml(kind)
        for kind in DEFINITIONS
    }
    read = {
        root / "api" / "schemas" / file_name(kind.kind): schemas.to_json(kind)
        for kind in DEFINITIONS
    }
    pages = [root / "docs" / name for name in PAGES]
    filled = {page: docs.fill(page.read_text(encoding="utf-8")) for page in pages}
    described = {root / openapi.FILE: openapi.to_json()}
    return {**manifests, **read, **filled, **described}


def main(arguments: list[str] | None = None, *, root: Path = ROOT) -> int:
    """Write or check the generated files; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.generate", description=__doc__
    )
    parser.add_argument("--check", action="store_true", help="only say what is stale")
    check = parser.parse_args(arguments).check

    status = 0
    for path, wanted in generated(root).items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == wanted:
            continue
        name = str(path.relative_to(root))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote {name}")
            continue
        status = 1
        sys.stdout.writelines(
            difflib.unified_diff(
                found.splitlines(keepends=True),
                wanted.splitlines(keepends=True),
                fromfile=name,
                tofile=f"{name} (as made from the code)",
            )
        )
    if status:
        print("Stale: run `make generate` and commit the result.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
