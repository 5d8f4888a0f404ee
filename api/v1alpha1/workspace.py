"""Workspace under its first version: the same schema, converted by name alone."""

from typing import Literal

from pykaito.api.v1beta1 import workspace as v1beta1


class Workspace(v1beta1.Workspace):
    """A model and the nodes to run it on.

    With inference the model is served; with tuning it is fine-tuned.
    """

    api_version: Literal["kaito.sh/v1alpha1"] = "kaito.sh/v1alpha1"
