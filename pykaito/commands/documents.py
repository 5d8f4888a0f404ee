"""Reading manifests: YAML or JSON, one document or many, a file or standard input."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pykaito.api.meta import GROUP

STDIN = "-"

#: libyaml where PyYAML was built with it, which is several times faster.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(ValueError):
    """A file cannot be read, or holds what is no Kubernetes object."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source}: {problem}")


@dataclass(frozen=True, slots=True)
class Document:
    """One object and where it was found."""

    #: The file, and which of its documents where it holds several.
    source: str
    obj: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The object's kind, as it says itself."""
        return str(self.obj["kind"])

    @property
    def is_workspace(self) -> bool:
        """Whether this is a Workspace of any version, served or not."""
        group = str(self.obj.get("apiVersion", "")).partition("/")[0]
        return group == GROUP and self.kind == "Workspace"


def read(path: str) -> list[Document]:
    """Return the objects of a file, or of standard input for ``-``.

    Raises:
        DocumentError: the message names the file and, where known, the line.
    """
    name = "standard input" if path == STDIN else path
    try:
        text = sys.stdin.read() if path == STDIN else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DocumentError(name, str(reason)) from None
    return parse(text, name)


def parse(text: str, name: str) -> list[Document]:
    """Return the objects in a text; empty documents are left out.

    Raises:
        DocumentError: it is no YAML, or a document is no Kubernetes object.
    """
    try:
        loaded = [
            document
            for document in yaml.load_all(text, Loader=_Loader)
            if document is not None
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise DocumentError(f"{name}{where}", str(problem)) from None
    many = len(loaded) > 1
    return [
        found
        for number, document in enumerate(loaded, 1)
        for found in _documents(document, f"{name}[{number}]" if many else name)
    ]


def _documents(document: Any, source: str) -> Iterator[Document]:
    """Yield the object, or those of a ``kind: List`` as `kubectl get` prints it."""
    if not isinstance(document, dict) or not document.get("kind"):
        raise DocumentError(source, "found no kind; wanted a Kubernetes object")
    if document["kind"] != "List":
        yield Document(source, document)
        return
    for number, item in enumerate(document.get("items") or ()):
        yield from _documents(item, f"{source}.items[{number}]")
