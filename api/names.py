"""Names of other objects, as fields of the API."""

from typing import Annotated

from pydantic import Field

from pykaito.api.schema import DNS_SUBDOMAIN, LABEL_VALUE

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
"""The name of a Node, ConfigMap or Secret: lower-case letters, digits, - and ."""

InstanceType = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
"""A cloud's name for a size of machine; also the value of a node's label."""

Image = Annotated[str, Field(min_length=1, max_length=512, pattern="^[^ \\t\\r\\n]+$")]
"""A container image. Registries differ in what they accept, so only spaces are
refused here; the kubelet's verdict on the rest becomes a condition."""

PushSecret = Annotated[str, Field(min_length=1, max_length=253)]
"""A Secret's name, unchecked: published examples hold placeholders in capitals."""
