"""What is done to the scores in ``generate`` beside what it does itself."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from pykaito.runtime.hf.batch_sampling import token_logprob
from pykaito.runtime.hf.engine import GenerationRequest, TokenLogprob
from pykaito.runtime.hf.errors import EngineError, InvalidRequestError

Tensor = Any  # torch publishes no types that strict mode can read

#: Why a request fails whose scores cannot be compared.
NO_NUMBERS = (
    "the model's scores are no numbers: its weights or --torch_dtype may be at fault"
)


def logits_processors(request: GenerationRequest) -> list[Any]:
    """Return the request's processors, in the order they must run."""
    processors: list[Any] = []
    if request.top_logprobs is not None:
        # First, so that it sees the model's view and not the request's.
        processors.append(LogprobRecorder(request.top_logprobs))
    if request.presence_penalty or request.frequency_penalty:
        processors.append(
            PresencePenalty(
                prompt_length=len(request.prompt),
                presence=request.presence_penalty,
                frequency=request.frequency_penalty,
            )
        )
    if request.logit_bias:
        processors.append(LogitBias(request.logit_bias))
    # Last: it looks at what tokens are drawn from.
    processors.append(DrawableCheck(beam_search=request.beam_search))
    return processors


class PresencePenalty:
    """OpenAI's two penalties on tokens that the answer has already.

    ``presence`` is subtracted once, ``frequency`` once per occurrence. Tokens
    of the prompt do not count.
    """

    def __init__(
        self, *, prompt_length: int, presence: float, frequency: float
    ) -> None:
        self._prompt_length = prompt_length
        self._presence = presence
        self._frequency = frequency

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores less the penalties."""
        answer = input_ids[:, self._prompt_length :]
        ones = torch.ones_like(answer, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add(1, answer, ones)
        return scores - self._frequency * counts - self._presence * (counts > 0)


class LogitBias:
    """OpenAI's ``logit_bias``: a number added to each of some tokens."""

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._ids = torch.tensor(list(bias))
        self._values = torch.tensor(list(bias.values()))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores with the bias added."""
        del input_ids
        values = self._values.to(scores.device, scores.dtype)
        return scores.index_add(
            1,
            self._ids.to(scores.device),
            values.expand(scores.shape[0], -1),
        )


class DrawableCheck:
    """Leaves ``generate`` when there is no token left to draw.

    A request can forbid every token (``encoder_no_repeat_ngram_size``), and a
    model can overflow. Drawing from such scores asserts on the device: a GPU
    is lost for the whole process, so that one request would end the server.
    """

    def __init__(self, *, beam_search: bool) -> None:
        self._beam_search = beam_search

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores as they are.

        Raises:
            InvalidRequestError: if every token is forbidden.
            EngineError: if the model's scores are no numbers.
        """
        del input_ids
        best: list[float] = scores.amax(dim=-1).tolist()
        if any(math.isnan(one) or one == math.inf for one in best):
            raise EngineError(NO_NUMBERS)
        forbidden = [one == -math.inf for one in best]
        # A beam that ends in nothing leaves the others.
        if all(forbidden) or (any(forbidden) and not self._beam_search):
            raise InvalidRequestError(
                "no token is left to generate: no_repeat_ngram_size, "
                "encoder_no_repeat_ngram_size and bad_words_ids forbid them all"
            )
        return scores


class LogprobRecorder:
    """Keeps the probabilities of the step at hand, changes nothing."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._latest: Tensor = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Remember the scores as log-probabilities."""
        del input_ids
        self._latest = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def read(self, row: int, token_id: int) -> TokenLogprob:
        """Return what the step at hand gave the chosen token of a sequence."""
        return token_logprob(self._latest[row], token_id, self._top)
