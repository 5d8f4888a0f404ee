"""One request through ``generate``: what the running batch does not do.

Beams, n-gram rules and other arguments that only ``generate`` knows, and all
requests to models whose attention the batch does not know.
"""

from collections.abc import Callable
from typing import Any

import torch

from pykaito.runtime.hf.adapter_choice import Chosen, choosing
from pykaito.runtime.hf.engine import Chunk, GenerationRequest
from pykaito.runtime.hf.loading import LoadedModel
from pykaito.runtime.hf.sampling import LogprobRecorder, logits_processors
from pykaito.runtime.hf.sequence_output import SequenceOutput
from pykaito.runtime.hf.token_tap import EachToken, TokenTap


def generate_static(
    loaded: LoadedModel,
    request: GenerationRequest,
    *,
    emit: Callable[[Chunk], None],
    each_token: Callable[[], None],
) -> None:
    """Generate all of a request's sequences, as one batch.

    Args:
        loaded: The model.
        request: What to generate.
        emit: Given each chunk.
        each_token: Called after each token; whatever it raises comes out here.
    """
    # Each request draws numbers of its own, whatever ran before it.
    if request.seed is None:
        torch.seed()
    else:
        torch.manual_seed(request.seed)
    end_tokens = loaded.end_tokens(request)
    processors = logits_processors(request)
    criteria: list[Any] = []
    outputs = [
        SequenceOutput(request, index, end_tokens=end_tokens, decode=loaded.decode)
        for index in range(request.sequences)
    ]
    if not request.beam_search:
        recorders = [one for one in processors if isinstance(one, LogprobRecorder)]
        recorder = recorders[0] if recorders else None
        criteria.append(TokenTap(outputs, recorder=recorder, emit=emit))
    criteria.append(EachToken(each_token))
    prompt = torch.tensor([request.prompt], device=loaded.device)
    with choosing(Chosen.of([loaded.choice(request)])):
        found = loaded.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            logits_processor=processors,
            stopping_criteria=criteria,
            max_new_tokens=request.max_new_tokens,
            num_return_sequences=request.sequences,
            **request.options,
        )
    if request.beam_search:
        # Its sequences are known only now.
        answers = found[:, prompt.shape[1] :].tolist()
        for output, answer in zip(outputs, answers, strict=True):
            emit(_whole(output, answer))


def _whole(output: SequenceOutput, answer: list[int]) -> Chunk:
    """Make one chunk of a sequence that beam search has found."""
    chunks = []
    for token in answer:
        chunks.append(output.push(token))
        if output.finished:
            break
    last = chunks[-1]
    return Chunk(
        sequence=last.sequence,
        token_ids=tuple(token for chunk in chunks for token in chunk.token_ids),
        text="".join(chunk.text for chunk in chunks),
        finish_reason=last.finish_reason or "length",
    )
