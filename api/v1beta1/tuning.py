"""Workspace.tuning: which model to fine-tune, on what, and where to put the result."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import ObjectName
from pykaito.api.schema import Rule, lower_ascii, rules
from pykaito.api.v1beta1.data import DataDestination, Dataset
from pykaito.api.v1beta1.inference import Preset

_URLS = "has(self.urls) && self.urls.size() > 0"
_GIVEN = f"[{_URLS}, has(self.volumeSource), has(self.image)].filter(x, x).size()"


def _given(self: Mapping[str, Any]) -> list[str]:
    given = {name for name in self if name != "urls" or self["urls"]}
    return [name for name in ("urls", "volumeSource", "image") if name in given]


INPUT_RULES = (
    Rule(
        rule=f"{_GIVEN} == 1",
        holds=lambda self: len(_given(self)) == 1,
        message="set exactly one of urls, volumeSource and image",
        found="'set exactly one of urls, volumeSource and image; found: ' + "
        f"({_GIVEN} == 0 ? 'none' : '') + ({_URLS} ? 'urls ' : '') + "
        "(has(self.volumeSource) ? 'volumeSource ' : '') + "
        "(has(self.image) ? 'image' : '')",
        says=lambda self: (
            "set exactly one of urls, volumeSource and image; found: "
            f"{' '.join(_given(self)) or 'none'}"
        ),
    ),
    Rule(
        rule="has(self.name) == has(oldSelf.name) && "
        "(!has(self.name) || self.name == oldSelf.name)",
        holds=lambda self, old: self.get("name") == old.get("name"),
        message="the input's name cannot be changed; make a new Workspace",
        field_path=".name",
    ),
)

OUTPUT_RULES = (
    Rule(
        rule="has(self.image) || has(self.volumeSource)",
        holds=lambda self: "image" in self or "volumeSource" in self,
        message="set image, volumeSource or both; found neither",
    ),
    Rule(
        rule="!has(self.image) || has(self.imagePushSecret)",
        holds=lambda self: "image" not in self or "imagePushSecret" in self,
        message="an output image needs imagePushSecret, the Secret to push it with",
        field_path=".imagePushSecret",
    ),
)

METHOD_RULES = (
    Rule(
        rule="self.lowerAscii() in ['lora', 'qlora']",
        holds=lambda self: lower_ascii(self) in {"lora", "qlora"},
        message="method must be lora or qlora",
        found="'method must be lora or qlora; found ' + self",
        says=lambda self: f"method must be lora or qlora; found {self}",
    ),
    Rule(
        rule="self.lowerAscii() == oldSelf.lowerAscii()",
        holds=lambda self, old: lower_ascii(self) == lower_ascii(old),
        message="the method cannot be changed; make a new Workspace",
        found="'the method cannot be changed from ' + oldSelf + ' to ' + self + "
        "'; make a new Workspace'",
        says=lambda self, old: (
            f"the method cannot be changed from {old} to {self}; make a new Workspace"
        ),
    ),
)


class Tuning(ApiModel):
    """A model to fine-tune."""

    preset: Preset
    """The model to fine-tune, by name. It cannot be changed."""

    method: Annotated[str, Field(max_length=16, json_schema_extra=rules(*METHOD_RULES))]
    """lora, or qlora, which loads the model in 4 or 8 bits to save memory. Upper and
    lower case are the same. It cannot be changed."""

    config: ObjectName | None = None
    """A ConfigMap in the Workspace's namespace whose key training_config.yaml holds the
    parameters; the operator's own for the method where absent."""

    input: Annotated[Dataset, Field(json_schema_extra=rules(*INPUT_RULES))]
    """The dataset: exactly one of urls, volumeSource and image."""

    output: Annotated[DataDestination, Field(json_schema_extra=rules(*OUTPUT_RULES))]
    """Where the tuned weights go: an image, a volume, or both."""
