from typing import Any

from pykaito.runtime.hf.engine import TokenLogprob
from pykaito.runtime.hf.openai_replies import Answer, CompletionShapes
from pykaito.runtime.hf.token_text import TokenText


class Reader:
    """Knows three tokens, two of which look the same."""

    def token(self, token_id: int) -> TokenText:
        return TokenText("??a"[token_id], [])


def test_of_tokens_that_look_the_same_the_likelier_counts() -> None:
    shapes: Any = CompletionShapes(Reader(), with_logprobs=True)  # type: ignore[arg-type]
    top = ((0, -0.5), (1, -2.0))
    answer = Answer(logprobs=[TokenLogprob(2, -3.0, top), TokenLogprob(0, -0.5, ())])
    found = shapes.whole(0, answer)["logprobs"]
    assert found["top_logprobs"] == [{"?": -0.5, "a": -3.0}, {"?": -0.5}]
