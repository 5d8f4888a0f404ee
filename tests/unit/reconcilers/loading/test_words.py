"""How far a server is, in words; and read back from them."""

import pytest

from pykaito.reconcilers.inference.loading import Report, Stage, sentence, told_of

POD = "falcon-7fb4659fb-vhqht"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (None, "loading the model"),
        (Report(Stage.LOADING, 0.8), "loading the weights: 80 %"),
        (Report(Stage.GENERATING), "generating a first token"),
        (
            Report(Stage.DOWNLOADING, 0.43, 12.1e9, 28e9, 250e6, 64),
            "downloading the weights: 43 % (12.1 of 28.0 GB, 250 MB/s, 64 s left)",
        ),
        (
            Report(Stage.DOWNLOADING, None, 999.7e6, None, 0, None),
            "downloading the weights (1.0 GB, 0 B/s)",
        ),
        (
            Report(Stage.DOWNLOADING, 0.01, 3e9, 300e9, 1.25e9, 250),
            "downloading the weights: 1 % (3.0 of 300.0 GB, 1.25 GB/s, 4 min left)",
        ),
        (
            Report(Stage.DOWNLOADING, 0, 0, 810e6, 12_300, 65_853),
            "downloading the weights: 0 % (0.0 of 810.0 MB, 12.3 kB/s, 18 h left)",
        ),
    ],
)
def test_a_report_is_said_and_read_back(report: Report | None, said: str) -> None:
    told = sentence(POD, report)
    assert told == f"pod {POD} is {said}"
    message = f"1 of 2 replicas serve: {told}; left as their owners set them: x (y)"
    assert told_of(POD, message) == (said if report else "")


def test_what_is_told_of_another_pod_is_not_taken_for_this_ones() -> None:
    told = sentence(f"{POD}-2", Report(Stage.LOADING, 0.8))
    assert told_of(POD, told) == ""
    assert told_of("falcon.7fb4659fb-vhqht", sentence(POD, Report(Stage.LOADING))) == ""
