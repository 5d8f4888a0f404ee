"""The catalogue is looked up as users type names."""

import pytest

from pykaito.runtime.presets.catalogue import (
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
