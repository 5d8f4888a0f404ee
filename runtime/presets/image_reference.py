"""References to container images, as registries and container runtimes read them."""

import re

#: The grammar of https://github.com/distribution/reference, less its IPv6 hosts.
_DOMAIN_PART = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_DOMAIN = rf"{_DOMAIN_PART}(?:[.]{_DOMAIN_PART})*(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def image_doubt(field: str, image: str) -> str | None:
    """Return what is wrong with a reference, None where it can be read.

    Container runtimes decide whether it is right; this tells of placeholders
    before a pod does.
    """
    if _REFERENCE.fullmatch(image):
        return None
    return (
        f"{field}: found {image[:200]!r}, which is no reference of an image; write it "
        "as registry.example.com/path/name:tag, the path in lower case"
    )
