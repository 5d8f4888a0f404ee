"""Workspace.tuning: which model to fine-tune, on what, and where to put the result."""

from typing import Annotated

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import ObjectName
from pykaito.api.schema import Rule, rules
from pykaito.api.v1beta1.data import DataDestination, Dataset
from pykaito.api.v1beta1.inference import Preset

_URLS = "has(self.urls) && self.urls.size() > 0"
_GIVEN = f"[{_URLS}, has(self.volumeSource), has(self.image)].filter(x, x).size()"

INPUT_RULES = (
    Rule(
        f"{_GIVEN} == 1",
        "set exactly one of urls, volumeSource and image",
        found="'set exactly one of urls, volumeSource and image; found: ' + "
        f"({_GIVEN} == 0 ? 'none' : '') + ({_URLS} ? 'urls ' : '') + "
        "(has(self.volumeSource) ? 'volumeSource ' : '') + "
        "(has(self.image) ? 'image' : '')",
    ),
    Rule(
        "has(self.name) == has(oldSelf.name) && "
        "(!has(self.name) || self.name == oldSelf.name)",
        "the input's name cannot be changed; make a new Workspace",
        field_path=".name",
    ),
)

OUTPUT_RULES = (
    Rule(
        "has(self.image) || has(self.volumeSource)",
        "set image, volumeSource or both; found neither",
    ),
    Rule(
        "!has(self.image) || has(self.imagePushSecret)",
        "an output image needs imagePushSecret, the Secret to push it with",
        field_path=".imagePushSecret",
    ),
)

METHOD_RULES = (
    Rule(
        "self.lowerAscii() in ['lora', 'qlora']",
        "method must be lora or qlora",
        found="'method must be lora or qlora; found ' + self",
    ),
    Rule(
        "self.lowerAscii() == oldSelf.lowerAscii()",
        "the method cannot be changed; make a new Workspace",
        found="'the method cannot be changed from ' + oldSelf + ' to ' + self + "
        "'; make a new Workspace'",
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
