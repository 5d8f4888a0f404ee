"""Workspace, a model and the nodes to run it on: the stored version."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel, ObjectMeta
from pykaito.api.schema import Rule, matches, rules
from pykaito.api.v1beta1.inference import Inference
from pykaito.api.v1beta1.resource import Resource
from pykaito.api.v1beta1.status import WorkspaceStatus
from pykaito.api.v1beta1.tuning import Tuning

MAX_NAME_LENGTH = 52
"""Of 63 characters in a label's value, a StatefulSet's pods need 11 for the
revision hash that Kubernetes appends to the name."""

_NAMES = "^[a-z]([-a-z0-9]*[a-z0-9])?$"

_NAME = (
    "the name must be lower-case letters, digits and -, from a letter to a letter "
    "or digit, because the Service is called the same"
)

WORKSPACE_RULES = (
    Rule(
        rule=f"self.metadata.name.matches('{_NAMES}')",
        holds=lambda self: matches(_NAMES, self["metadata"]["name"]),
        message=_NAME,
        found=f"'{_NAME}; found ' + self.metadata.name",
        says=lambda self: f"{_NAME}; found {self['metadata']['name']}",
        field_path=".metadata.name",
    ),
    Rule(
        rule="has(self.inference) != has(self.tuning)",
        holds=lambda self: ("inference" in self) != ("tuning" in self),
        message="set exactly one of inference and tuning",
        found="'set exactly one of inference and tuning; found ' + "
        "(has(self.inference) ? 'both' : 'neither')",
        says=lambda self: (
            "set exactly one of inference and tuning; found "
            f"{'both' if 'inference' in self else 'neither'}"
        ),
        field_path=".inference",
    ),
    Rule(
        rule="has(self.inference) == has(oldSelf.inference)",
        holds=lambda self, old: ("inference" in self) == ("inference" in old),
        message="a Workspace cannot turn from inference to tuning or back; make a new "
        "one",
        field_path=".inference",
    ),
    Rule(
        rule="!has(self.tuning) || !has(self.resource.count) || "
        "self.resource.count == 1",
        holds=lambda self: "tuning" not in self or self["resource"]["count"] == 1,
        message="tuning runs on one node; count must be 1",
        field_path=".resource.count",
    ),
    Rule(
        rule="!has(self.tuning) || !has(self.resource.partition)",
        holds=lambda self: "tuning" not in self or "partition" not in self["resource"],
        message="tuning needs whole nodes; remove partition",
        field_path=".resource.partition",
    ),
)


class WorkspaceMeta(ObjectMeta):
    """Metadata whose name leaves room for what is derived from it."""

    name: Annotated[str, Field(max_length=MAX_NAME_LENGTH)] = ""


class Workspace(ApiModel):
    """A model and the nodes to run it on.

    With inference the model is served; with tuning it is fine-tuned.
    """

    model_config = ConfigDict(json_schema_extra=rules(*WORKSPACE_RULES))

    # Both served versions have one schema, so that either parses.
    api_version: Literal["kaito.sh/v1beta1", "kaito.sh/v1alpha1"] = "kaito.sh/v1beta1"
    kind: Literal["Workspace"] = "Workspace"
    metadata: WorkspaceMeta

    resource: Resource
    """The nodes to run on."""

    inference: Inference | None = None
    """A model to serve. Exactly one of inference and tuning."""

    tuning: Tuning | None = None
    """A model to fine-tune. Exactly one of inference and tuning."""

    # Made without validation, which would build validators whenever it is imported.
    status: WorkspaceStatus = Field(default=WorkspaceStatus.model_construct())
    """What the operator saw."""
