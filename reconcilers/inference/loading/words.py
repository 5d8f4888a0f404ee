"""What is said of a server that loads its model: pure."""

import re

from pykaito.reconcilers.inference.loading.report import Report, Stage

#: The units of bytes that people buy and hubs tell, largest first.
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

_MINUTE, _HOUR = 60, 3600

_STAGES = "|".join(map(re.escape, Stage))


def sentence(pod: str, report: Report | None) -> str:
    """Return how far a pod is that loads its model.

    Args:
        pod: its name.
        report: what it says itself, None if it says nothing.
    """
    return f"pod {pod} is {_doing(report) if report else 'loading the model'}"


def told_of(pod: str, message: str) -> str:
    """Return what a message says that a pod is doing, empty if nothing is reported.

    It is how others read what the operator was told: `sentence` without its subject.
    """
    found = re.search(
        rf"\bpod {re.escape(pod)} is ((?:{_STAGES})(?:: \d+ %)?(?: \([^()]*\))?)",
        message,
    )
    return found[1] if found else ""


def _doing(report: Report) -> str:
    share = "" if report.percent is None else f": {report.percent} %"
    details = ", ".join(filter(None, (_amount(report), _speed(report), _left(report))))
    return f"{report.stage}{share}" + (f" ({details})" if details else "")


def _amount(report: Report) -> str:
    if report.done is None:
        return ""
    if not report.total:
        unit, name = _unit(report.done)
        return f"{report.done / unit:.1f} {name}"
    unit, name = _unit(report.total)
    return f"{report.done / unit:.1f} of {report.total / unit:.1f} {name}"


def _speed(report: Report) -> str:
    if report.speed is None:
        return ""
    unit, name = _unit(report.speed)
    return f"{report.speed / unit:.3g} {name}/s"


def _left(report: Report) -> str:
    seconds = report.left
    if seconds is None:
        return ""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s left"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min left"
    return f"{seconds / _HOUR:.0f} h left"


def _unit(amount: float) -> tuple[float, str]:
    # Rounded to 1000 of the lesser one, it is 1 of the greater.
    found = (unit for unit in _UNITS if amount >= unit[0] * 0.9995)
    return next(found, (1, "B"))
