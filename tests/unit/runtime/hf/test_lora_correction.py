"""One adapter alone, in a model that has all of them in its weights."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.pytorch_utils import Conv1D

from pykaito.runtime.hf.adapter_choice import Choice, Chosen, choosing
from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_correction import correct_by_choice
from pykaito.runtime.hf.lora_files import PREFIX, read_adapter
from pykaito.runtime.hf.lora_merge import merge_adapters

from .lora import factors, write_adapter

WIDTH, OUTPUTS, TOKENS = 24, 40, 50
#: Of a weight.
SIZE = 0.05
#: What each module takes and gives.
SHAPES = {
    "embed": (TOKENS, WIDTH),
    "linear": (WIDTH, OUTPUTS),
    "conv": (WIDTH, OUTPUTS),
    "head": (WIDTH, TOKENS),
}


class Model(torch.nn.Module):
    """Every kind of module that an adapter may have been trained for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(TOKENS, WIDTH)
        self.linear = torch.nn.Linear(WIDTH, OUTPUTS)
        self.conv = Conv1D(OUTPUTS, WIDTH)
        self.head = torch.nn.Linear(WIDTH, TOKENS, bias=False)
        self.head.weight = self.embed.weight
        for weights in self.parameters():
            weights.requires_grad_(requires_grad=False).normal_(std=SIZE)

    def effective(self, name: str) -> torch.Tensor:
        """Return a module's weights as its outputs have them: a row per input."""
        module: Any = self.get_submodule(name)
        if name == "embed":
            found: torch.Tensor = module(torch.arange(TOKENS))
            return found.double()
        zero = module(torch.zeros(1, WIDTH))
        return module(torch.eye(WIDTH)).double() - zero.double()  # type: ignore[no-any-return]


def load(adapters: Sequence[Adapter], model: Model) -> dict[str, Choice]:
    files = [read_adapter(adapter) for adapter in adapters]
    merge_adapters(model, files)
    return correct_by_choice(model, files)


DRAWN = st.fixed_dictionaries(
    {
        "rank": st.integers(1, 16),
        "alpha": st.integers(1, 64),
        "rslora": st.booleans(),
        "strength": st.sampled_from([0.0, 1.0]) | st.floats(0.1, 1),
        "seed": st.integers(0, 2**31),
        "modules": st.sets(st.sampled_from(sorted(SHAPES)), min_size=1),
    }
)


def written(folder: Path, drawn: dict[str, Any]) -> tuple[Adapter, dict[str, Any]]:
    """Write an adapter; return it and what it adds to each module, in float64."""
    rank, root = drawn["rank"], math.sqrt(drawn["rank"])
    scaling = drawn["alpha"] / (root if drawn["rslora"] else rank)
    # As trained: what is added is small beside the weights, whatever it is scaled by.
    scale = math.sqrt(SIZE / 2 / root / scaling)
    pairs = {
        name: factors(*SHAPES[name], rank=rank, seed=drawn["seed"] + n, scale=scale)
        for n, name in enumerate(sorted(drawn["modules"]))
    }
    deltas = {
        name: drawn["strength"] * scaling * (b.double() @ a.double()).T
        for name, (a, b) in pairs.items()
    }
    extra = {}
    if "embed" in pairs:
        a, b = pairs.pop("embed")
        extra = {
            f"{PREFIX}embed.lora_embedding_{x}": f for x, f in (("A", a), ("B", b))
        }
    adapter = write_adapter(
        folder,
        pairs,
        strength=drawn["strength"],
        extra=extra,
        r=rank,
        lora_alpha=drawn["alpha"],
        use_rslora=drawn["rslora"],
    )
    return adapter, deltas


@given(st.lists(DRAWN, min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_all_adapters_and_each_alone_are_as_strong_as_the_definition_says(
    drawn: list[dict[str, Any]],
) -> None:
    """To better than 1e-5 of what they add; where that is nothing, of the weights."""
    model = Model()
    base = {name: model.effective(name) for name in SHAPES}
    with tempfile.TemporaryDirectory() as folder:
        pairs = [written(Path(folder, f"a{n}"), one) for n, one in enumerate(drawn)]
        choices = load([adapter for adapter, _ in pairs], model)
    alone = [(choices[adapter.name], [deltas]) for adapter, deltas in pairs]
    for choice, parts in [(None, [deltas for _, deltas in pairs]), *alone]:
        for name, before in base.items():
            right = sum((part[name] for part in parts if name in part), 0 * before)
            with choosing(Chosen.of([choice])):
                found = model.effective(name) - before
            scale = right.norm() if right.any() else before.norm()
            assert (found - right).norm() < 1e-5 * scale, (choice, name)


def pair_of(folder: Path, *modules: str) -> list[Adapter]:
    """Write two adapters of linear layers."""
    return [
        write_adapter(
            folder / name,
            {module: factors(*SHAPES[module], seed=seed) for module in modules},
            strength=0.5,
        )
        for seed, name in enumerate("ab")
    ]


def test_each_token_of_a_step_is_read_with_its_own_adapter(tmp_path: Path) -> None:
    model = Model()
    load(pair_of(tmp_path, "linear"), model)
    tokens = torch.randn(1, 5, WIDTH)
    choices = [1, None, 0, 1, None]
    with choosing(Chosen.of(choices)):
        together = model.linear(tokens)
    for at, choice in enumerate(choices):
        with choosing(Chosen.of([choice])):
            alone = model.linear(tokens[:, at])
        torch.testing.assert_close(together[:, at], alone)
    merged = model.linear(tokens)
    assert torch.equal(together[:, [1, 4]], merged[:, [1, 4]])
    assert not torch.allclose(together, merged)


def test_an_output_layer_knows_the_tokens_that_it_is_left_with(tmp_path: Path) -> None:
    model = Model()
    load(pair_of(tmp_path, "head"), model)
    tokens = torch.randn(1, 5, WIDTH)
    with choosing(Chosen.of([1, 1, None, 0, 0], kept=[1, 2, 4])):
        whole = model.head(tokens)
        kept = model.head(tokens[:, [1, 2, 4]])
    torch.testing.assert_close(kept, whole[:, [1, 2, 4]])


def test_no_token_that_is_kept_may_ask_for_an_adapter(tmp_path: Path) -> None:
    model = Model()
    load(pair_of(tmp_path, "head"), model)
    token = torch.randn(1, 1, WIDTH)
    with choosing(Chosen.of([0, 0, None], kept=[2])):
        found = model.head(token)
    assert torch.equal(found, model.head(token))


def test_rows_that_are_no_tokens_are_refused_rather_than_guessed_at(
    tmp_path: Path,
) -> None:
    """Experts get the tokens that were sent to them."""
    model = Model()
    load(pair_of(tmp_path, "linear"), model)
    routed = torch.randn(3, WIDTH)
    with (
        choosing(Chosen.of([0, 1, None, 0], kept=[3])),
        pytest.raises(ValueError, match="a module has 3 rows for 4 tokens of several"),
    ):
        model.linear(routed)
    with choosing(Chosen.of([0, 0, 0, 0], kept=[3])):
        assert not torch.allclose(model.linear(routed), Model().linear(routed))


def test_an_output_is_rounded_once_to_its_type(tmp_path: Path) -> None:
    model = Model().to(torch.bfloat16)
    adapters = pair_of(tmp_path, "linear")
    load(adapters, model)
    token = torch.randn(1, WIDTH).to(torch.bfloat16)
    a, b = (one.double() for one in factors(*SHAPES["linear"], seed=1))
    right = model.linear(token).double() - token.double() @ (b @ a).T
    with choosing(Chosen.of([0])):
        found = model.linear(token)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, right.float().to(torch.bfloat16))


def changed(model: Model) -> set[str]:
    return {name for name, one in model.named_modules() if "forward" in vars(one)}


def test_one_adapter_is_the_merged_model(tmp_path: Path) -> None:
    model = Model()
    adapter, _ = pair_of(tmp_path, "linear")
    assert load([adapter], model) == {"a": None}
    assert changed(model) == set()


def test_modules_without_adapters_are_left_alone(tmp_path: Path) -> None:
    model = Model()
    assert load(pair_of(tmp_path, "linear"), model) == {"a": 0, "b": 1}
    assert changed(model) == {"linear"}


def test_an_adapter_is_the_merged_model_if_the_others_are_of_no_strength(
    tmp_path: Path,
) -> None:
    model = Model()
    strong, weak = pair_of(tmp_path, "linear")
    choices = load([strong, replace(weak, strength=0.0)], model)
    assert choices == {"a": None, "b": 1}
    with choosing(Chosen.of([choices["b"]])):
        torch.testing.assert_close(
            model.effective("linear"), Model().effective("linear")
        )


class Scaled(torch.nn.Embedding):
    """As Gemma's."""

    embed_scale = 7.5

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens) * self.embed_scale


class Router(torch.nn.Linear):
    """As those of experts."""

    def forward(self, tokens: torch.Tensor) -> Any:
        return super().forward(tokens).softmax(-1).topk(2)


def test_an_embeddings_scale_is_an_adapters_too(tmp_path: Path) -> None:
    drawn = {"rank": 2, "alpha": 4, "rslora": False, "strength": 1.0}
    model, plain = Model(), Model()
    model.embed = Scaled(TOKENS, WIDTH, _weight=plain.embed.weight.clone())
    adapters = [
        written(tmp_path / f"a{seed}", drawn | {"seed": seed, "modules": {"embed"}})[0]
        for seed in (1, 2)
    ]
    assert load(adapters, model) == load(adapters, plain) == {"a1": 0, "a2": 1}
    with choosing(Chosen.of([1])):
        right = 7.5 * plain.effective("embed")
        torch.testing.assert_close(model.effective("embed"), right)


def test_adapters_of_what_is_no_product_are_not_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model()
    model.linear = Router(WIDTH, OUTPUTS)
    assert load(pair_of(tmp_path, "linear", "head"), model) == {}
    assert changed(model) == set()
    assert "no adapter can be asked for by its name" in caplog.messages
    reason = "linear: a Router makes more of its weights than a product"
    assert caplog.records[-1].__dict__["reason"] == reason
