"""A model by its name, for inference and for tuning."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import Image, ObjectName
from pykaito.api.schema import Matching, Rule, rules


class AccessMode(StrEnum):
    """Who may pull the model's image."""

    PUBLIC = "public"
    PRIVATE = "private"


class PresetOptions(ApiModel):
    """How to get a model that is not freely available."""

    image: Image | None = None
    """The image that holds the model, for accessMode private."""

    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets of the type kubernetes.io/dockerconfigjson, in the Workspace's namespace,
    to pull the image with."""

    model_access_secret: ObjectName | None = None
    """A Secret in the Workspace's namespace whose key HF_TOKEN holds a token of the
    model hub, for models that need one to be downloaded."""


class Preset(ApiModel):
    """A model the operator knows how to run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "self.accessMode != 'private' || (has(self.presetOptions) && "
                "has(self.presetOptions.image))",
                "accessMode private needs the image that holds the model",
                field_path=".presetOptions.image",
            ),
            Rule(
                "self == oldSelf",
                "the preset cannot be changed; make a new Workspace",
                found="'the preset cannot be changed' + (self.name == oldSelf.name ? "
                "'' : ' from ' + oldSelf.name + ' to ' + self.name) + '; make a new "
                "Workspace'",
            ),
        )
    )

    name: Annotated[
        str,
        Field(max_length=193),
        Matching(
            "^[A-Za-z0-9][-A-Za-z0-9_.]*(/[A-Za-z0-9][-A-Za-z0-9_.]*)?$",
            "be a model of the catalogue, such as falcon-7b, or of a hub, as org/name",
        ),
    ]
    """A model of the catalogue, such as falcon-7b, or of a hub, such as
    microsoft/Phi-4-mini-instruct. Upper and lower case are the same."""

    access_mode: AccessMode = AccessMode.PUBLIC
    """public: the catalogue says where the model is. private: presetOptions.image holds
    it."""

    preset_options: PresetOptions | None = None
    """How to get a model that is not freely available."""
