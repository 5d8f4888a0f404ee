"""What differs between the architectures: configuration, special tokens, template."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import FalconConfig, LlamaConfig, Phi3Config


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is; ``heads`` times 64 is its width."""

    layers: int
    heads: int
    vocabulary: int


SIZES = {
    "tiny": Size(layers=4, heads=3, vocabulary=2048),
    "small": Size(layers=12, heads=9, vocabulary=8192),
    # For GPUs, which smaller ones would leave idle.
    "large": Size(layers=32, heads=48, vocabulary=8192),
}

HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model family as its published models are.

    ``special_tokens`` get the first ids, in order. ``end_tokens`` end an
    answer; the first of them is the tokenizer's ``eos_token``.
    """

    config: Callable[..., Any]
    special_tokens: tuple[str, ...]
    begin_token: str | None
    end_tokens: tuple[str, ...]
    chat_template: str


def _llama_like(size: Size) -> dict[str, Any]:
    width = size.heads * HEAD_WIDTH
    return {
        "vocab_size": size.vocabulary,
        "hidden_size": width,
        "intermediate_size": 8 * width // 3,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }


def _phi3(size: Size, **token_ids: Any) -> Any:
    return Phi3Config(
        **_llama_like(size),
        **token_ids,
        num_key_value_heads=size.heads,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        sliding_window=2047,
    )


def _llama(size: Size, **token_ids: Any) -> Any:
    return LlamaConfig(
        **_llama_like(size),
        **token_ids,
        num_key_value_heads=max(1, size.heads // 3),
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
    )


def _falcon(size: Size, **token_ids: Any) -> Any:
    return FalconConfig(
        **token_ids,
        vocab_size=size.vocabulary,
        hidden_size=size.heads * HEAD_WIDTH,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        multi_query=True,
        parallel_attn=True,
        bias=False,
        alibi=False,
        new_decoder_architecture=False,
        max_position_embeddings=2048,
    )


ARCHITECTURES = {
    "phi3": Architecture(
        config=_phi3,
        special_tokens=(
            "<unk>",
            "<s>",
            "</s>",
            "<|endoftext|>",
            "<|system|>",
            "<|user|>",
            "<|assistant|>",
            "<|end|>",
        ),
        begin_token="<s>",  # noqa: S106 - a token of text
        end_tokens=("<|endoftext|>", "<|end|>"),
        chat_template=(
            "{{ bos_token }}"
            "{% for message in messages %}"
            "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
        ),
    ),
    "llama": Architecture(
        config=_llama,
        special_tokens=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        begin_token="<|begin_of_text|>",  # noqa: S106 - a token of text
        end_tokens=("<|end_of_text|>", "<|eot_id|>"),
        chat_template=(
            "{{ bos_token }}"
            "{% for message in messages %}"
            "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
            "{{ message.content + '<|eot_id|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}"
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
            "{% endif %}"
        ),
    ),
    "falcon": Architecture(
        config=_falcon,
        special_tokens=("<|endoftext|>",),
        begin_token=None,
        end_tokens=("<|endoftext|>",),
        chat_template=(
            "{% for message in messages %}"
            "{% if not loop.first %}{{ '\n' }}{% endif %}"
            "{{ message.role.capitalize() + ': ' + message.content }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '\nAssistant:' }}{% endif %}"
        ),
    ),
}
