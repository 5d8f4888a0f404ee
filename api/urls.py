"""URLs as the API server's CEL reads them, which is as Go's url.ParseRequestURI does.

Python's urllib takes nearly anything for a URL, so that it could not tell which
ones the CRD's rules refuse.
"""

import re
from typing import NamedTuple

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPED = r"%[0-9A-Fa-f]{2}"
_PATH = re.compile(rf"(?:[^%]|{_ESCAPED})*", re.DOTALL)
_USER = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|{_ESCAPED})*")
#: Only what is no ASCII may be escaped in a host.
_HOST = re.compile(
    r"""(?:[A-Za-z0-9_.~!$&'()*+,;=:<>"\[\]-]|[^\x00-\x7f]|%[89A-Fa-f][0-9A-Fa-f])*"""
)
_BRACKETED = re.compile(r"\[(?P<address>.*)\](?::[0-9]*)?", re.DOTALL)
_ZONE = re.compile(rf"""%25(?:[^%\x00-\x20^`{{|}}/#?@\\]|{_ESCAPED})*""")
_PORT = re.compile(r":[0-9]*")


class Url(NamedTuple):
    """The parts of a URL that rules look at."""

    #: In lower case; empty for a mere path.
    scheme: str
    #: Without port and brackets; empty where there is none.
    host: str


def parse_url(text: str) -> Url | None:
    """Return the parts of an absolute URL or path, None where it is neither."""
    if not text or _CONTROL.search(text):
        return None
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match[1].lower(), match[2]) if match else ("", text)
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        # Such as mailto:someone; without a scheme it is no URL at all.
        return Url(scheme, "") if scheme else None
    if not (scheme and rest.startswith("//")):
        return Url(scheme, "") if _PATH.fullmatch(rest) else None
    authority, slash, path = rest[2:].partition("/")
    user, at, host = authority.rpartition("@")
    if (at and not _USER.fullmatch(user)) or not _PATH.fullmatch(slash + path):
        return None
    name = _hostname(host)
    return None if name is None else Url(scheme, name)


def _hostname(host: str) -> str | None:
    if host.startswith("["):
        match = _BRACKETED.fullmatch(host)
        if match is None:
            return None
        address, percent, zone = match["address"].partition("%25")
        fine = _HOST.fullmatch(address) and _ZONE.fullmatch(percent + zone or "%25")
        return match["address"] if fine else None
    name, colon, port = host.rpartition(":")
    if colon and not _PORT.fullmatch(colon + port):
        return None
    return (name if colon else host) if _HOST.fullmatch(host) else None
