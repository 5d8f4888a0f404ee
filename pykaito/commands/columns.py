"""Text in columns, as kubectl prints tables."""

from collections.abc import Sequence

GAP = 3


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: upper-case header, columns as wide as their widest cell."""
    table = [list(header), *map(list, rows)]
    widths = [max(map(len, cells)) + GAP for cells in zip(*table, strict=True)]
    lines = (
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)
