"""A folder with a model as transformers saves one: weights, tokenizer, template."""

import os
from collections.abc import Sequence
from pathlib import Path

# Threads would share the count of pairs in an order of their own.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedTokenizerFast,
    logging,
)

from hack.models.architectures import Architecture, Size


def save_model(
    folder: Path,
    *,
    architecture: Architecture,
    size: Size,
    corpus: Sequence[str],
    seed: int,
    device: str = "cpu",
) -> int:
    """Write a model with random weights and return its number of parameters.

    A seed gives the same weights each time on the same ``device``.
    """
    tokenizer = _tokenizer(architecture, size, corpus)
    ends = tokenizer.convert_tokens_to_ids(list(architecture.end_tokens))
    config = architecture.config(
        size,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends[0],
        pad_token_id=tokenizer.pad_token_id,
    )
    config.dtype = torch.bfloat16
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        # Weights are saved for their owner alone, a server is someone else.
        path.chmod(0o644)
    return sum(weights.numel() for weights in model.parameters())


def _tokenizer(
    architecture: Architecture, size: Size, corpus: Sequence[str]
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer: every text has tokens, none is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        special_tokens=list(architecture.special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    begin = architecture.begin_token
    if begin is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A",
            pair=f"{begin} $A {begin} $B",
            special_tokens=[(begin, tokenizer.token_to_id(begin))],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token=architecture.end_tokens[0],
        pad_token=architecture.end_tokens[0],
        chat_template=architecture.chat_template,
        clean_up_tokenization_spaces=False,
    )
