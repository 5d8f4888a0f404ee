"""One fault of an object."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of an object: the field, and what is wrong with it."""

    #: As the API server writes it: inference.adapters[0].source.name.
    path: str
    #: What was found and what would be right, as the API server says it.
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
