"""What every kind shares: the base model, metadata, conditions."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pykaito.api.schema import Int64

GROUP = "kaito.sh"


class ApiModel(BaseModel):
    """A part of an API object.

    Fields are snake_case in Python and camelCase on the wire. Instances cannot
    be changed. Unknown fields are ignored, as the API server prunes them, so
    that an operator reads objects of a newer CRD. A field's docstring is its
    description in the CRD, which is what `kubectl explain` prints; the generator of
    the CRDs reads it from the source, which is too slow to do at each start.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        # A part is mostly read as a part of a whole, whose validator has it in it.
        defer_build=True,
        extra="ignore",
        frozen=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


class OwnerReference(ApiModel):
    """The object that this one belongs to, and goes with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(ApiModel):
    """The part of metadata that the operator reads."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One observation about the object, in the form all of Kubernetes uses."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What is observed, such as ResourceReady."""

    status: ConditionStatus
    """True, False, or Unknown while nothing could be observed."""

    observed_generation: Annotated[Int64, Field(ge=0)] = 0
    """The metadata.generation this was observed for; a lower number than the object's
    own means the observation is out of date."""

    last_transition_time: datetime
    """When the status last changed from one value to another."""

    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        ),
    ]
    """Why, as one word for programs; docs/troubleshooting has a page for each."""

    message: Annotated[str, Field(max_length=32768)]
    """Why, as a sentence for people."""
