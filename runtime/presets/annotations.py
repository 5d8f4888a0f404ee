"""Annotations of a Workspace whose values are words of a list."""

from collections.abc import Mapping
from typing import Literal

from pykaito.api import labels
from pykaito.api.schema import DNS_SUBDOMAIN, LABEL_VALUE, matches
from pykaito.api.v1beta1.workspace import Workspace

Accelerator = Literal["gpu", "cpu"]

#: What an annotation may say, in the order that a message names it.
CHOICES: Mapping[str, tuple[str, ...]] = {
    labels.RUNTIME: ("vllm", "transformers"),
    labels.USE_ACCELERATOR: ("gpu", "cpu"),
    labels.PERFORMANCE_MODE: ("balanced", "interactivity", "throughput"),
    labels.USE_LOCAL_WEIGHTS: ("true", "false"),
    labels.MOUNT_WEIGHTS_IMAGE: ("true", "false"),
    labels.NODE_IMAGE_FAMILY: ("ubuntu", "azurelinux"),
    labels.CAPACITY_TYPE: ("on-demand", "spot"),
    labels.KEEP_NODES: ("true", "false"),
}


MAX_NAME = 63

#: Annotations that name things, what a name looks like, and how to write them.
FORMS: Mapping[str, tuple[str, str]] = {
    labels.ZONES: (LABEL_VALUE, "zones as a,b, by their names as the cloud has them"),
    labels.NODE_CLASS_NAME: (DNS_SUBDOMAIN, "the name of a node class"),
}


class UnknownValueError(ValueError):
    """An annotation's value is none of those that it may have."""


def field_of(annotation: str) -> str:
    """Return an annotation's path, for messages."""
    return f"metadata.annotations[{annotation}]"


def check_annotations(workspace: Workspace) -> None:
    """Check the values that come from a list.

    Raises:
        UnknownValueError: one does not; the message says what would be right.
    """
    for annotation, choices in CHOICES.items():
        found = workspace.metadata.annotations.get(annotation)
        if found is not None and found not in choices:
            right = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise UnknownValueError(
                f"{field_of(annotation)}: found {found!r}; set it to {right}"
            )

    for annotation, (pattern, form) in FORMS.items():
        for found in listed(workspace.metadata.annotations.get(annotation, "")):
            if len(found) > MAX_NAME or not matches(pattern, found):
                raise UnknownValueError(
                    f"{field_of(annotation)}: found {found[:MAX_NAME]!r}; write {form}"
                )


def listed(value: str) -> tuple[str, ...]:
    """Return the parts of a value such as a,b."""
    return tuple(part for found in value.split(",") if (part := found.strip()))


def accelerator(workspace: Workspace) -> Accelerator:
    """Return what computes: the node's GPUs, or its CPUs where the user says so."""
    asked = workspace.metadata.annotations.get(labels.USE_ACCELERATOR)
    return "cpu" if asked == "cpu" else "gpu"
