"""Points in time of Kubernetes objects, and how long ago they were."""

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def parse_time(text: str | None) -> datetime | None:
    """Return a timestamp as an object holds it, None where there is none."""
    return datetime.fromisoformat(text) if text else None


def age(since: datetime | None, now: datetime) -> str:
    """Return how old something is, empty if that is not known."""
    return "" if since is None else duration((now - since).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration in at most two units, as kubectl writes it: 4m15s."""
    whole = max(int(seconds), 0)
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 3 * _HOUR:
        return _two(whole, _MINUTE, "m", 1, "s", limit=10)
    if whole < 2 * _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "m", limit=8)
    return _two(whole, _DAY, "d", _HOUR, "h", limit=8)


def _two(
    whole: int, unit: int, name: str, lesser: int, lesser_name: str, *, limit: int
) -> str:
    """Leave the lesser unit out from ``limit`` of the greater on."""
    count, rest = divmod(whole, unit)
    rest //= lesser
    return (
        f"{count}{name}{rest}{lesser_name}"
        if rest and count < limit
        else (f"{count}{name}")
    )
