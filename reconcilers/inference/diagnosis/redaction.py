"""What others say, without what lets its readers in somewhere: pure.

Pods and registries tell of the addresses that failed. Stores of files and layers hand
out addresses that are signed: whoever has one may read what it is of.
"""

import re

_REDACTED = "[redacted]"

_SECRETS = (
    # A signature is a part of the query, and little else of that helps anybody.
    re.compile(r"""(?P<kept>https?://[^\s?"'<>]+\?)[^\s"'<>]*[^\s"'<>:;,.)]"""),
    re.compile(r"(?P<kept>https?://)[^\s/@]+(?=@)"),
    # As a header carries a token, and one of Hugging Face anywhere.
    re.compile(r"(?P<kept>\bBearer )[\w.~+/=-]{8,}"),
    re.compile(r"(?P<kept>\bhf_)[A-Za-z0-9]{16,}"),
)


def redacted(text: str) -> str:
    """Return a text without passwords, tokens and the queries of addresses."""
    for secret in _SECRETS:
        text = secret.sub(rf"\g<kept>{_REDACTED}", text)
    return text
