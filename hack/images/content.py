"""What goes into an image, as one short hash: its tag."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_LENGTH = 12


def digest(paths: Iterable[Path], *, relative_to: Path, salt: Iterable[str]) -> str:
    """Hash files, and the files below folders, by name, kind and content.

    Times and owners do not count. A symbolic link counts by its target's name,
    and is not followed.

    Args:
        paths: Files and folders, in any order.
        relative_to: The folder that the names are taken from.
        salt: What else decides the result, such as build arguments.

    Raises:
        FileNotFoundError: One of the paths is not there.
    """
    total = hashlib.sha256("\0".join(salt).encode())
    for path in sorted(file for source in paths for file in _files(source)):
        total.update(f"\0{path.relative_to(relative_to)}\0".encode())
        if path.is_symlink():
            total.update(f"-> {path.readlink()}".encode())
        else:
            mode = "x" if path.stat().st_mode & 0o100 else "-"
            total.update(f"{mode}{_file_digest(path)}".encode())
    return total.hexdigest()[:_LENGTH]


def copied(containerfile: str) -> list[str]:
    """Name the paths that a Containerfile copies from its build context."""
    joined = containerfile.replace("\\\n", " ")
    lines = re.findall(r"^COPY (?!--from)(.+)$", joined, re.MULTILINE)
    return sorted({source for line in lines for source in line.split()[:-1]})


def _files(path: Path) -> Iterator[Path]:
    """The files below a path, less the bytecode that no image takes."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for child in path.iterdir():
        if child.name != "__pycache__":
            yield from _files(child)


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
