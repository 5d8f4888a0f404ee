"""The catalogue is looked up as users type names."""

import pytest

from pykaito.runtime.presets.catalogue import (
    Preset,
    UnknownPresetError,
    catalogue,
    find_preset,
)


def test_a_name_is_found_whatever_its_case() -> None:
    assert find_preset("Phi-3.5-Mini-Instruct").name == "phi-3.5-mini-instruct"


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownPresetError, match="did you mean falcon-7b"):
        find_preset("falcon-7")


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(UnknownPresetError) as caught:
        find_preset("zzz")
    assert caught.value.nearest == []


def test_models_whose_licence_forbids_hosting_are_private() -> None:
    private = {name for name, preset in catalogue().items() if preset.private_only}
    assert private == {name for name in catalogue() if name.startswith("llama-2-")}


def test_a_repository_of_the_hub_names_its_preset_whatever_its_case() -> None:
    for name in ("Google/gemma-3-4b-IT", "gemma-3-4b-it", "gemma-3-4b-instruct"):
        assert find_preset(name).hub == "google/gemma-3-4b-it"


def test_an_unknown_repository_is_answered_with_the_nearest_models() -> None:
    with pytest.raises(UnknownPresetError, match="did you mean phi-4"):
        find_preset("someone/phi-4-mini-instruct-tuned")


def test_no_two_presets_share_a_name() -> None:
    names = [name for preset in catalogue().values() for name in preset.names]
    assert len(names) == len(set(names))


def test_the_models_that_the_hub_gates_are_known() -> None:
    gated = {name for name, preset in catalogue().items() if preset.gated}
    assert gated == {
        "gemma-3-27b-instruct",
        "gemma-3-4b-instruct",
        "llama-3.1-8b-instruct",
        "llama-3.3-70b-instruct",
    }


@pytest.mark.parametrize(
    ("name", "layers", "experts", "parameters"),
    [("gpt-oss-20b", 24, 32, 20.91e9), ("gpt-oss-120b", 36, 128, 116.83e9)],
)
def test_the_weights_of_gpt_oss_are_its_parameters_once(
    name: str, layers: int, experts: int, parameters: float
) -> None:
    """An expert has three matrices of 2880 x 2880, stored at 4.25 bits."""
    in_experts = layers * experts * 3 * 2880 * 2880
    stored = in_experts * 4.25 / 8 + (parameters - in_experts) * 2
    assert find_preset(name).weights_gib == pytest.approx(stored / 2**30, rel=0.01)


@pytest.mark.parametrize("preset", catalogue().values(), ids=lambda p: p.name)
def test_layers_that_are_told_add_up(preset: Preset) -> None:
    attention = preset.attention
    assert attention.full_layers + attention.sliding_layers <= attention.layers
    assert (attention.sliding_layers > 0) == (attention.window > 0)
    if attention.kind in {"mqa", "mla"}:
        assert attention.kv_heads == 1
