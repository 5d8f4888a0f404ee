"""Where data comes from and goes to: adapters, datasets, tuned weights."""

from typing import Annotated, Any

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import Image, ObjectName, PushSecret
from pykaito.api.schema import PRESERVE_UNKNOWN, Rule, rules

VolumeSource = Annotated[
    dict[str, Any], Field(json_schema_extra=dict(PRESERVE_UNKNOWN))
]
"""A pod volume's source, as in the core API, such as persistentVolumeClaim."""

_INWARD = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "169.254.0.0/16", "0.0.0.0/8", "::1/128", "::/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
_IS_INWARD = " || ".join(f"cidr('{net}').containsIP(host)" for net in _INWARD)
_LOCAL_NAME = (
    "host.lowerAscii().matches("
    "r'^((.*[.])?localhost|metadata[.]google[.]internal)[.]?$')"
)
# Resolvers also read 2130706433, 0x7f.1 and 127.1 as addresses: a host whose
# last part is a number is a plain address, or hides one.
_ENDS_IN_NUMBER = "host.matches(r'(^|[.])(0[xX][0-9a-fA-F]*|[0-9]+)[.]?$')"

URL_RULES = (
    Rule(
        "isURL(self) && url(self).getScheme() in ['http', 'https'] && "
        "url(self).getHostname() != ''",
        "must be a URL with the scheme http or https and a host",
        found="'must be a URL with the scheme http or https and a host; found ' + self",
    ),
    Rule(
        # A list of one is how CEL names a value.
        "!isURL(self) || [url(self).getHostname()].all(host, "
        f"!{_LOCAL_NAME} && (isIP(host) ? !({_IS_INWARD}) : "
        f"!host.contains(':') && !{_ENDS_IN_NUMBER}))",
        "must not point to this machine, a private network or a metadata service",
        found="'must not point to this machine, a private network or a metadata "
        "service; found ' + self",
    ),
)

Url = Annotated[
    str, Field(min_length=1, max_length=2048, json_schema_extra=rules(*URL_RULES))
]


class DataSource(ApiModel):
    """Where data comes from."""

    name: Annotated[str, Field(max_length=253)] | None = None
    """What the data is called."""

    urls: Annotated[
        tuple[Annotated[str, Field(max_length=2048)], ...], Field(max_length=64)
    ] = ()
    """Files to download; for tuning only."""

    volume_source: VolumeSource | None = None
    """A volume that holds the files, as in a pod's volumes."""

    image: Image | None = None
    """A container image that holds the files under /data."""

    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets of the type kubernetes.io/dockerconfigjson, in the Workspace's namespace,
    to pull the image with."""


class Dataset(DataSource):
    """Where a dataset comes from."""

    urls: Annotated[tuple[Url, ...], Field(max_length=64)] = ()
    """Files to download, by http or https, from public hosts."""


class DataDestination(ApiModel):
    """Where data goes to."""

    volume_source: VolumeSource | None = None
    """A volume to write the files to, as in a pod's volumes."""

    image: Image | None = None
    """A container image to push, with the files under /data. An inference Workspace can
    load it as an adapter."""

    image_push_secret: PushSecret | None = None
    """A Secret of the type kubernetes.io/dockerconfigjson, in the Workspace's
    namespace, to push the image with."""
