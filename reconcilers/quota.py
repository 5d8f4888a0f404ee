"""What a ResourceQuota refused, and by how much it was exceeded: pure."""

import re
from collections.abc import Mapping
from decimal import Decimal

from pykaito.api.quantity import parse_quantity

QUOTA_EXCEEDED = "QuotaExceeded"

_EXCEEDED = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>\S+), "
    r"used: (?P<used>\S+), limited: (?P<limited>\S+)"
)


def explain_quota(message: str, namespace: str) -> str | None:
    """Return a refusal for a quota in words that say what is short.

    Args:
        message: the API server's.
        namespace: where the quota is.

    Returns:
        None if the message is not about a quota.
    """
    found = _EXCEEDED.search(message)
    if found is None:
        return None
    used, limited = _amounts(found["used"]), _amounts(found["limited"])
    short = "; ".join(
        f"{resource}: {amount} more wanted, {used.get(resource, '0')} of "
        f"{limited.get(resource, '?')} used"
        f"{_lack(amount, used.get(resource, '0'), limited.get(resource, ''))}"
        for resource, amount in _amounts(found["requested"]).items()
    )
    quota = found["quota"]
    return (
        f"ResourceQuota {quota} of namespace {namespace} is exceeded: {short}. Raise "
        f"it, or free some: kubectl -n {namespace} describe resourcequota {quota}"
    )


def _amounts(text: str) -> Mapping[str, str]:
    """Read what the API server writes as ``pods=1,requests.cpu=500m``."""
    pairs = (part.partition("=") for part in text.split(","))
    return {resource: amount for resource, _, amount in pairs}


def _lack(wanted: str, used: str, limited: str) -> str:
    try:
        lack = parse_quantity(wanted) + parse_quantity(used) - parse_quantity(limited)
    except ValueError:
        return ""
    return f", {_plain(lack)} too much" if lack > 0 else ""


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
