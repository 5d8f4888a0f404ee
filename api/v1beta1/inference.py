"""Workspace.inference: which model to serve, and how."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import ObjectName
from pykaito.api.schema import PRESERVE_UNKNOWN, Rule, rules
from pykaito.api.v1beta1.adapter import ADAPTERS_RULE, Adapter
from pykaito.api.v1beta1.preset import Preset

INFERENCE_RULES = (
    Rule(
        "has(self.preset) != has(self.template)",
        "set exactly one of preset and template",
        found="'set exactly one of preset and template; found ' + (has(self.preset) ? "
        "'both' : 'neither')",
    ),
    Rule(
        "has(self.preset) == has(oldSelf.preset)",
        "a Workspace cannot turn from preset to template or back; make a new Workspace",
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
