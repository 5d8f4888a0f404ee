"""Kubernetes resource quantities as exact numbers."""

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_BINARY = ("Mi", "Gi", "Ti", "Pi")

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+)(?:[eE][+-]?[0-9]{1,2})?)"
    r"(n|u|m|k|[KMGTPE]i|[MGTPE]|)"
)


def parse_quantity(text: str | int) -> Decimal:
    """Return the number that a quantity such as ``1500m`` or ``16Gi`` stands for.

    Raises:
        ValueError: the text is not a quantity.
    """
    found = _QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{text!r} is not a quantity; write it as 2, 500m or 16Gi")
    return Decimal(found[1]) * _SUFFIXES[found[2]]


def format_memory(size: int) -> str:
    """Return bytes, at least one, as a quantity of whole mebibytes, rounded up.

    It is written as the API server writes it back, in the largest unit that leaves
    a whole number, so that what is applied and what is read are the same.
    """
    amount, unit = -(-size // 2**20), 0
    while amount % 1024 == 0 and unit < len(_BINARY) - 1:
        amount, unit = amount // 1024, unit + 1
    return f"{amount}{_BINARY[unit]}"


def format_cores(millicores: int) -> str:
    """Return thousandths of a CPU as the API server writes them: 2, or 1500m."""
    cores, rest = divmod(millicores, 1000)
    return f"{millicores}m" if rest else str(cores)
