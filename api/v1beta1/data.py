"""Where data comes from and goes to: adapters, datasets, tuned weights."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, Any

from pydantic import Field

from pykaito.api.meta import ApiModel
from pykaito.api.names import Image, ObjectName, PushSecret
from pykaito.api.schema import PRESERVE_UNKNOWN, Rule, lower_ascii, matches, rules
from pykaito.api.urls import parse_url

VolumeSource = Annotated[
    dict[str, Any], Field(json_schema_extra=dict(PRESERVE_UNKNOWN))
]
"""A pod volume's source, as in the core API, such as persistentVolumeClaim."""

_INWARD = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "169.254.0.0/16", "0.0.0.0/8", "::1/128", "::/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
_IS_INWARD = " || ".join(f"cidr('{net}').containsIP(host)" for net in _INWARD)
_LOCAL_NAME = "^((.*[.])?localhost|metadata[.]google[.]internal)[.]?$"
# Resolvers also read 2130706433, 0x7f.1 and 127.1 as addresses: a host whose
# last part is a number is a plain address, or hides one.
_ENDS_IN_NUMBER = "^(.*[.])?(0[xX][0-9a-fA-F]*|[0-9]+)[.]?$"


def _has_host(url: str) -> bool:
    parsed = parse_url(url)
    return (
        parsed is not None and parsed.scheme in {"http", "https"} and parsed.host != ""
    )


def _points_outward(url: str) -> bool:
    parsed = parse_url(url)
    if parsed is None:
        return True
    host = parsed.host
    if matches(_LOCAL_NAME, lower_ascii(host)):
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return ":" not in host and not matches(_ENDS_IN_NUMBER, host)
    # Neither is an address to the API server: a zone, an IPv4 address within IPv6.
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return False
    return not any(address in ip_network(net) for net in _INWARD)


URL_RULES = (
    Rule(
        rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && "
        "url(self).getHostname() != ''",
        holds=_has_host,
        message="must be a URL with the scheme http or https and a host",
        found="'must be a URL with the scheme http or https and a host; found ' + self",
        says=lambda self: (
            f"must be a URL with the scheme http or https and a host; found {self}"
        ),
    ),
    Rule(
        # A list of one is how CEL names a value.
        rule="!isURL(self) || [url(self).getHostname()].all(host, "
        f"!host.lowerAscii().matches(r'{_LOCAL_NAME}') && "
        f"(isIP(host) ? !({_IS_INWARD}) : "
        f"!host.contains(':') && !host.matches(r'{_ENDS_IN_NUMBER}')))",
        holds=_points_outward,
        message="must not point to this machine, a private network or a metadata "
        "service",
        found="'must not point to this machine, a private network or a metadata "
        "service; found ' + self",
        says=lambda self: (
            "must not point to this machine, a private network or a metadata service; "
            f"found {self}"
        ),
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
