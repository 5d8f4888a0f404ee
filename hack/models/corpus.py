"""The text that tokenizers are trained on: the repository's own."""

from pathlib import Path

FOLDERS = ("api", "docs", "hack", "operator", "provisioners", "reconcilers", "runtime")
SUFFIXES = {".md", ".py"}


def corpus_of(repository: Path) -> list[str]:
    """Return the texts of documents and source files, in a fixed order."""
    paths = {repository / "LICENSE", *repository.glob("*.md")}
    for folder in FOLDERS:
        paths |= {
            path
            for path in (repository / folder).rglob("*")
            if path.suffix in SUFFIXES and path.is_file()
        }
    ordered = sorted(paths, key=lambda path: path.relative_to(repository).as_posix())
    return [path.read_text(encoding="utf-8") for path in ordered]
