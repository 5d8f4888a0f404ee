"""What was measured on a GPU, as a table for people and a record for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from hack.bench.model_folder import StepBytes
from hack.bench.roofline import FORMULA, least_seconds
from hack.bench.traffic import Load

#: How many times the tokens of a server that answers one at a time, by requests at
#: once, it must be at least.
WANTED = {64: 20.0}

HEADINGS = (
    *("Engine", "Requests at once", "Tokens/s", "ms a step", "Roofline"),
    *("Times one at a time", "Times vLLM"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One engine's rounds under one load."""

    engine: str
    at_once: int
    #: Whether the engine answers one request at a time, whoever waits.
    alone: bool
    rounds: Sequence[Load]

    @property
    def sequences(self) -> int:
        """How many share a step."""
        return 1 if self.alone else self.at_once

    @property
    def rate(self) -> float:
        """Tokens a second, in the median round."""
        return median(one.rate for one in self.rounds)

    @property
    def step(self) -> float:
        """Seconds between two tokens of an answer, in the median round."""
        # Alone, no other prompt comes between, and bursts on the way count less.
        return median(
            median(
                answer.step if self.sequences == 1 else answer.late_step
                for answer in one.answers
            )
            for one in self.rounds
        )

    def share(self, step: StepBytes, bandwidth: float) -> float:
        """Return which share of the time of a step the memory takes at least."""
        answers = [answer for one in self.rounds for answer in one.answers]
        least = least_seconds(
            step,
            sequences=self.sequences,
            # In the middle of what `step` is of.
            context=median(
                one.prompt_tokens
                + one.tokens * (1 / 2 if self.sequences == 1 else 3 / 4)
                for one in answers
            ),
            bandwidth=bandwidth,
        )
        return least / self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of a run.

    Attributes:
        mode: What was measured: servers, or engines without them.
        ours: The name of our engine.
        versions: Of whatever has a say in the figures.
        parameters: Of the model.
        step: What a step reads of the model.
        bandwidth: Bytes a second.
        measured: The rounds.
        left_out: What was not measured, and why.
    """

    mode: str
    ours: str
    versions: Mapping[str, str]
    parameters: int
    step: StepBytes
    bandwidth: float
    measured: Sequence[Measured]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, one: Measured, *, alone: bool) -> float | None:
        """Return an engine's tokens as a multiple of a baseline's.

        Args:
            one: The engine under a load.
            alone: Whether the baseline is what answers one request at a time;
                else it is another one that batches.
        """
        for other in self.measured:
            if (
                other.at_once == one.at_once
                and other.alone == alone
                and other.engine != self.ours
            ):
                return one.rate / other.rate
        return None

    def too_slow(self, one: Measured) -> bool:
        """Whether ours is less than it must be."""
        ratio = self.ratio(one, alone=True)
        wanted = WANTED.get(one.at_once, 0.0)
        return one.engine == self.ours and ratio is not None and ratio < wanted


def markdown(report: Report) -> str:
    """Return the report as a table, with what one has to know of it."""
    what = (
        f"{report.mode}; a Llama of {report.parameters / 1e6:.0f} M parameters in "
        f"bfloat16, {_lengths(report.measured)}."
    )
    bound = (
        f"Memory: {report.bandwidth / 1e9:.0f} GB/s, as copied. Roofline: the share of "
        f"a step's time that is {FORMULA}."
    )
    versions = "; ".join(" ".join(pair) for pair in report.versions.items()) + "."
    lines = [what, bound, versions, "", f"| {' | '.join(HEADINGS)} |"]
    lines.append("|---" * len(HEADINGS) + "|")
    for one in report.measured:
        cells = [
            one.engine,
            str(one.at_once),
            f"{one.rate:.0f}",
            f"{one.step * 1e3:.2f}",
            f"{one.share(report.step, report.bandwidth):.1%}",
            _times(report.ratio(one, alone=True)) + "!" * report.too_slow(one),
            _times(report.ratio(one, alone=False)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if any(report.too_slow(one) for one in report.measured):
        lines += ["", "An exclamation mark: less than it must be."]
    lines += [""] * bool(report.left_out)
    lines += [f"Left out: {name}: {why}." for name, why in report.left_out.items()]
    return "\n".join(lines) + "\n"


def record(report: Report) -> dict[str, Any]:
    """Return the report as what JSON can hold, each answer of each round too."""
    return {
        **{name: value for name, value in asdict(report).items() if name != "measured"},
        "formula": FORMULA,
        "measured": [
            {
                **asdict(one),
                "tokens_per_second": one.rate,
                "step_seconds": one.step,
                "roofline_share": one.share(report.step, report.bandwidth),
                "times_one_at_a_time": report.ratio(one, alone=True),
                "times_vllm": report.ratio(one, alone=False),
            }
            for one in report.measured
        ],
    }


def _lengths(measured: Sequence[Measured]) -> str:
    answers = [
        answer for one in measured for round_ in one.rounds for answer in round_.answers
    ]
    read = median(answer.prompt_tokens for answer in answers)
    return f"{read:.0f} tokens in and {answers[0].tokens} out"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
