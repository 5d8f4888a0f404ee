"""On a CPU, weights lie as its kernels read them, and the numbers stay the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from pykaito.runtime.hf.adapter_choice import Chosen, choosing
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.loading import load_model
from pykaito.runtime.hf.lora_files import read_adapter
from pykaito.runtime.hf.packed_weights import PackedLinear, pack
from pykaito.runtime.hf.progress import Progress

from .lora import factors, write_adapter

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="waits for a CPU whose bfloat16 products are oneDNN's: one with AVX-512",
)


def small_model(dtype: Any = torch.bfloat16, **more: Any) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **more,
    )
    return LlamaForCausalLM(config).eval().to(dtype)


@torch.no_grad()
def scores(model: Any) -> Any:
    return model(torch.arange(10)[None]).logits


def packed(model: Any) -> set[str]:
    return {n for n, one in model.named_modules() if isinstance(one, PackedLinear)}


def test_every_linear_layer_is_laid_out_and_scores_stay_the_same() -> None:
    model = small_model()
    before = scores(model)
    assert pack(model) == len(packed(model)) == 2 * 7 + 1
    assert torch.equal(scores(model), before)
    expected = small_model().generate(torch.arange(5)[None], max_new_tokens=20)
    found = model.generate(torch.arange(5)[None], max_new_tokens=20)
    assert torch.equal(found, expected)


def test_a_layer_without_rows_to_read_gives_none() -> None:
    model = small_model()
    pack(model)
    rows = torch.zeros((1, 0, 64), dtype=torch.bfloat16)
    assert model.lm_head(rows).shape == (1, 0, 100)


def test_weights_that_are_shared_stay_single() -> None:
    model = small_model(tie_word_embeddings=True)
    model.tie_weights()
    pack(model)
    assert "lm_head" not in packed(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_types_are_left_alone(dtype: Any) -> None:
    model = small_model(dtype)
    assert pack(model) == 0
    assert not packed(model)


class _ByHand(torch.nn.Linear):
    """Takes the weights of another layer for a product of its own."""

    other: Any

    def forward(self, rows: Any) -> Any:
        return functional.linear(rows, self.weight) + rows @ self.other[0].weight.T


class _Doubled(torch.nn.Linear):
    """Gives other numbers once the weights of another layer are laid out."""

    other: Any

    def forward(self, rows: Any) -> Any:
        again = 2 if isinstance(self.other[0], PackedLinear) else 1
        return functional.linear(rows, self.weight) * again


@pytest.mark.parametrize("kind", [_ByHand, _Doubled])
def test_a_model_that_takes_offence_gets_its_weights_back(kind: Any) -> None:
    model = small_model()
    head = kind(64, 100, bias=False).to(torch.bfloat16)
    head.other = [model.model.layers[0].mlp.gate_proj]
    if kind is _ByHand:
        head.other = [torch.nn.Linear(64, 100, bias=False).to(torch.bfloat16)]
        model.model.layers[0].extra = head.other[0]
    model.lm_head = head
    before = scores(model)
    weights = {name: one.clone() for name, one in model.named_parameters()}
    assert pack(model) == 0
    assert not packed(model)
    assert torch.equal(scores(model), before)
    assert all(torch.equal(one, weights[n]) for n, one in model.named_parameters())


def test_a_served_model_has_its_weights_so_and_each_adapter_by_its_name(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    flags = [f"--pretrained_model_name_or_path={model_folder('llama')}"]
    settings = parse_flags([*flags, "--torch_dtype=bfloat16"])
    plain = load_model(settings, Progress()).model
    width, _ = plain.model.layers[0].self_attn.q_proj.weight.shape
    files = [
        read_adapter(
            write_adapter(
                tmp_path / name,
                {"model.layers.0.self_attn.q_proj": factors(width, width, seed=seed)},
            )
        )
        for seed, name in enumerate(("one", "two"))
    ]
    both = load_model(settings, Progress(), files)
    alone = load_model(settings, Progress(), files[:1]).model
    assert "model.layers.0.self_attn.q_proj" in packed(both.model)
    with choosing(Chosen.of([both.choices["one"]])):
        found = scores(both.model)
    expected = scores(alone)
    far = (scores(plain) - expected).norm()
    assert (found - expected).norm() < far / 3, "more than bfloat16 rounds off"
    assert (scores(both.model) - expected).norm() > far / 2
