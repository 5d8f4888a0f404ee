"""Workspace.inference: which model to serve, and how."""

import operator
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import Image, ObjectName
from pykaito.api.schema import PRESERVE_UNKNOWN, Matching, Rule, rules
from pykaito.api.v1beta1.adapter import ADAPTERS_RULE, Adapter


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


def _preset_changed(self: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    now, before = self["name"], old["name"]
    names = "" if now == before else f" from {before} to {now}"
    return f"the preset cannot be changed{names}; make a new Workspace"


class Preset(ApiModel):
    """A model the operator knows how to run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                rule="self.accessMode != 'private' || (has(self.presetOptions) && "
                "has(self.presetOptions.image))",
                holds=lambda self: (
                    self["accessMode"] != "private"
                    or "image" in self.get("presetOptions", ())
                ),
                message="accessMode private needs the image that holds the model",
                field_path=".presetOptions.image",
            ),
            Rule(
                rule="self == oldSelf",
                holds=operator.eq,
                message="the preset cannot be changed; make a new Workspace",
                found="'the preset cannot be changed' + (self.name == oldSelf.name ? "
                "'' : ' from ' + oldSelf.name + ' to ' + self.name) + '; make a new "
                "Workspace'",
                says=_preset_changed,
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


INFERENCE_RULES = (
    Rule(
        rule="has(self.preset) != has(self.template)",
        holds=lambda self: ("preset" in self) != ("template" in self),
        message="set exactly one of preset and template",
        found="'set exactly one of preset and template; found ' + (has(self.preset) ? "
        "'both' : 'neither')",
        says=lambda self: (
            "set exactly one of preset and template; found "
            f"{'both' if 'preset' in self else 'neither'}"
        ),
    ),
    Rule(
        rule="has(self.preset) == has(oldSelf.preset)",
        holds=lambda self, old: ("preset" in self) == ("preset" in old),
        message="a Workspace cannot turn from preset to template or back; make a new "
        "Workspace",
    ),
)


class Inference(ApiModel):
    """A model to serve."""

    model_config = ConfigDict(json_schema_extra=rules(*INFERENCE_RULES))

    preset: Preset | None = None
    """The model to serve, by name. Exactly one of preset and template. It cannot be
    changed."""

    template: (
        Annotated[dict[str, Any], Field(json_schema_extra=dict(PRESERVE_UNKNOWN))]
        | None
    ) = None
    """A pod template of your own to run on the nodes, as in a Deployment. Exactly one
    of preset and template."""

    config: ObjectName | None = None
    """A ConfigMap in the Workspace's namespace whose key inference_config.yaml holds
    settings of the model server. A change of its content is rolled out."""

    adapters: Annotated[
        tuple[Adapter, ...],
        Field(max_length=10, json_schema_extra=rules(ADAPTERS_RULE)),
    ] = ()
    """LoRA adapters to load, at most 10."""
