"""What a diagnosis comes to."""

from dataclasses import dataclass

from pykaito.api.conditions import InferenceReason


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How a workload is, and what holds it up if something does.

    Attributes:
        reason: one word, SUCCESS where it serves.
        message: what was found and what a person can do, in sentences.
        progressing: nothing is wrong, it only takes its time.
        stalled: waiting does not mend it, only a person can.
        look_again: seconds after which the time alone may change the above.
    """

    reason: str
    message: str
    progressing: bool = False
    stalled: bool = False
    look_again: float | None = None


def pending(message: str, look_again: float | None = None) -> Diagnosis:
    """Return how far a workload is that comes along."""
    reason = InferenceReason.PENDING
    return Diagnosis(reason, message, progressing=True, look_again=look_again)
