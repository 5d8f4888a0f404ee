import logging
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.lora_files import PREFIX, read_adapter
from pykaito.runtime.hf.lora_merge import merge_adapters
from pykaito.runtime.hf.model_source import LoadError

from .lora import factors, write_adapter

Q = "layers.0.q_proj"
INPUTS, OUTPUTS = 24, 40


class Block(torch.nn.Module):
    """Every kind of module that an adapter may have been trained for."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
        self.conv = Conv1D(OUTPUTS, INPUTS)
        self.norm = torch.nn.LayerNorm(INPUTS)


class Base(torch.nn.Module):
    """A model of one block, whose output layer shares the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList([Block()])
        self.embed = torch.nn.Embedding(50, INPUTS)
        self.head = torch.nn.Linear(INPUTS, 50, bias=False)
        self.head.weight = self.embed.weight

    def of(self, name: str) -> torch.Tensor:
        """Return a copy of a module's weights."""
        return self.get_submodule(name).weight.detach().clone()  # type: ignore[operator, no-any-return, union-attr]


@pytest.fixture
def base() -> Base:
    return Base()


def merge(model: torch.nn.Module, *adapters: Adapter) -> None:
    merge_adapters(model, [read_adapter(adapter) for adapter in adapters])


@st.composite
def adapters(draw: st.DrawFn) -> list[dict[str, Any]]:
    one = st.fixed_dictionaries(
        {
            "rank": st.integers(1, 16),
            "alpha": st.integers(1, 64),
            "rslora": st.booleans(),
            "strength": st.floats(0, 1),
            "seed": st.integers(0, 2**31),
        }
    )
    return draw(st.lists(one, min_size=1, max_size=10))


@given(adapters())
@settings(max_examples=60, deadline=None)
def test_weights_become_what_the_definition_says(drawn: list[dict[str, Any]]) -> None:
    """In float64, and to better than 1e-5, for one to ten adapters at once."""
    base = Base()
    right = base.of(Q).double()
    with tempfile.TemporaryDirectory() as folder:
        asked = []
        for number, one in enumerate(drawn):
            a, b = factors(INPUTS, OUTPUTS, rank=one["rank"], seed=one["seed"])
            root = math.sqrt(one["rank"]) if one["rslora"] else one["rank"]
            right += one["strength"] * one["alpha"] / root * b.double() @ a.double()
            asked.append(
                write_adapter(
                    Path(folder, f"a{number}"),
                    {Q: (a, b)},
                    strength=one["strength"],
                    r=one["rank"],
                    lora_alpha=one["alpha"],
                    use_rslora=one["rslora"],
                )
            )
        merge(base, *asked)
    assert (base.of(Q).double() - right).abs().max() < 1e-5


def test_ten_adapters_cost_one_rounding(base: Base, tmp_path: Path) -> None:
    base.to(torch.bfloat16)
    pairs = [factors(INPUTS, OUTPUTS, seed=seed) for seed in range(10)]
    right = base.of(Q).double() + sum(2 * b.double() @ a.double() for a, b in pairs)
    merge(
        base,
        *(write_adapter(tmp_path / f"a{n}", {Q: p}) for n, p in enumerate(pairs)),
    )
    assert base.of(Q).dtype == torch.bfloat16
    assert torch.equal(base.of(Q), right.float().to(torch.bfloat16))


def test_a_strength_of_nothing_leaves_the_model_as_it_is(
    base: Base, tmp_path: Path
) -> None:
    before = base.of(Q)
    merge(base, write_adapter(tmp_path / "a", {Q: factors(24, 40)}, strength=0.0))
    assert torch.equal(base.of(Q), before)


def test_layers_whose_weights_lie_the_other_way_are_turned(
    base: Base, tmp_path: Path
) -> None:
    name = "layers.0.conv"
    before = base.of(name)
    a, b = factors(INPUTS, OUTPUTS)
    merge(base, write_adapter(tmp_path / "a", {name: (a, b)}, fan_in_fan_out=True))
    torch.testing.assert_close(base.of(name), before + 2 * (b @ a).T)


def test_an_output_layer_that_shares_weights_is_parted_from_the_embedding(
    base: Base, tmp_path: Path
) -> None:
    before = base.of("embed")
    a, b = factors(INPUTS, 50)
    merge(base, write_adapter(tmp_path / "a", {"head": (a, b)}))
    assert torch.equal(base.of("embed"), before)
    torch.testing.assert_close(base.of("head"), before + 2 * b @ a)


def test_ranks_and_alphas_may_differ_by_module(base: Base, tmp_path: Path) -> None:
    before = {name: base.of(name) for name in (Q, "head")}
    q, head = factors(INPUTS, OUTPUTS, rank=2), factors(INPUTS, 50)
    merge(
        base,
        write_adapter(
            tmp_path / "a",
            {Q: q, "head": head},
            rank_pattern={"q_proj": 2},
            alpha_pattern={r"layers\.\d+\.q_proj": 10},
        ),
    )
    torch.testing.assert_close(base.of(Q), before[Q] + 5 * q[1] @ q[0])
    torch.testing.assert_close(base.of("head"), before["head"] + 2 * head[1] @ head[0])


def test_what_was_merged_is_told_in_one_line(
    base: Base, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    merge(base, write_adapter(tmp_path / "legal", {Q: factors(24, 40)}, strength=0.5))
    (told,) = [r for r in caplog.records if r.getMessage() == "adapters merged"]
    assert vars(told)["adapters"] == {"legal": 0.5}


@pytest.mark.parametrize(
    ("module", "pair", "wrong"),
    [
        ("layers.9.q_proj", factors(24, 40), "layers.9.q_proj: the base model has no"),
        ("layers.0.norm", factors(24, 24), "the base model has a LayerNorm there"),
        ("embed", factors(50, 24), "found factors of a linear layer"),
        (Q, factors(25, 40), "lora_A has the shape [4, 25], the base model needs [4"),
        (Q, factors(24, 41), "lora_B has the shape [41, 4], the base model needs [40"),
        (Q, factors(24, 40, rank=3), "lora_A has the shape [3, 24]"),
    ],
)
def test_an_adapter_of_another_model_is_told_by_module_and_shape(
    base: Base, tmp_path: Path, module: str, pair: Any, wrong: str
) -> None:
    before = base.of(Q)
    fitting = write_adapter(tmp_path / "fits", {Q: factors(24, 40)})
    asked = write_adapter(
        tmp_path / "legal", {module: pair}, base_model_name_or_path="org/other"
    )
    with pytest.raises(LoadError) as error:
        merge(base, fitting, asked)
    said = str(error.value)
    assert said.startswith(f"adapter 'legal': {tmp_path}/legal/adapter_model")
    assert wrong in said
    assert torch.equal(base.of(Q), before), "changed before it was refused"


def test_the_model_that_an_adapter_was_trained_on_is_named(
    base: Base, tmp_path: Path
) -> None:
    asked = write_adapter(
        tmp_path / "a", {"other": factors(1, 1)}, base_model_name_or_path="org/other"
    )
    with pytest.raises(LoadError, match="it was trained on 'org/other'"):
        merge(base, asked)


def test_quantised_weights_take_no_adapter(base: Base, tmp_path: Path) -> None:
    layer = base.get_submodule(Q)
    weight = torch.zeros(OUTPUTS, INPUTS, dtype=torch.int8)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    with pytest.raises(LoadError, match=r"are quantised \(torch.int8\)"):
        merge(base, write_adapter(tmp_path / "a", {Q: factors(24, 40)}))


def test_values_that_are_no_numbers_are_refused(base: Base, tmp_path: Path) -> None:
    a, b = factors(24, 40)
    a[0, 0] = math.nan
    with pytest.raises(LoadError, match="holds values that are no numbers"):
        merge(base, write_adapter(tmp_path / "a", {Q: (a, b)}))


def test_a_sum_beyond_the_weights_type_is_refused(base: Base, tmp_path: Path) -> None:
    base.half()
    pair = factors(24, 40, scale=300)
    with pytest.raises(LoadError, match=r"'a': layers.0.q_proj: .* torch.float16"):
        merge(base, write_adapter(tmp_path / "a", {Q: pair}))


def test_weights_that_came_along_must_be_the_base_models(
    base: Base, tmp_path: Path
) -> None:
    """With an adapter of an embedding, peft saves the embedding too."""
    key = f"{PREFIX}head.base_layer.weight"
    pair = {"head": factors(INPUTS, 50)}
    merge(Base(), write_adapter(tmp_path / "a", pair, extra={key: base.of("head")}))
    other = write_adapter(tmp_path / "b", pair, extra={key: base.of("head") + 1})
    with pytest.raises(LoadError, match="found weights of its own for head"):
        merge(Base(), other)


#: What is adapted, and whether one of them shares its weights with another module.
ARCHITECTURES = {
    "phi3": (["qkv_proj", "down_proj"], False),
    "falcon": (["query_key_value", "dense_4h_to_h", "lm_head"], True),
    "llama": (["q_proj", "embed_tokens"], False),
}


@pytest.fixture(scope="module")
def peft() -> Any:
    """Import it where it is needed: that takes ten seconds."""
    return pytest.importorskip("peft")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_adapter_at_full_strength_is_what_peft_makes_of_it(
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    peft: Any,
    architecture: str,
    rslora: bool,
) -> None:
    targets, shared = ARCHITECTURES[architecture]

    def load() -> Any:
        path = model_folder(architecture)
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def logits(model: Any) -> torch.Tensor:
        tokens = torch.arange(20).reshape(1, -1) + 10
        with torch.inference_mode():
            found: torch.Tensor = model(tokens).logits
        return found

    config = peft.LoraConfig(
        r=8,
        lora_alpha=12,
        use_rslora=rslora,
        target_modules=targets,
        rank_pattern={r"1\..*_proj": 3},
        alpha_pattern={r"2\..*_proj": 30},
        init_lora_weights=False,
    )
    torch.manual_seed(1)
    peft.get_peft_model(load(), config).save_pretrained(tmp_path / "a")
    ours = load()
    merge(ours, Adapter("a", 1.0, tmp_path / "a"))
    found = logits(ours)
    assert (logits(load()) - found).abs().max() > 1e-2
    trained = peft.PeftModel.from_pretrained(load(), tmp_path / "a")
    assert (logits(trained) - found).abs().max() < 1e-4
    if not shared:  # peft's merge would change the other module, too
        merged = trained.merge_and_unload()
        assert (logits(merged) - found).abs().max() < 1e-4
        for name in ours.state_dict():
            torch.testing.assert_close(
                ours.state_dict()[name], merged.state_dict()[name]
            )
