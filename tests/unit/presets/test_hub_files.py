"""Of a repository that holds its weights several times, one copy counts."""

from collections.abc import Mapping

import pytest

from pykaito.runtime.presets.hub_files import Weights, find_weights, has_mistral_format

FILES = {"README.md": 9, "config.json": 9, "tokenizer.json": 9}


def form(sizes: Mapping[str, int]) -> tuple[str, int]:
    found = find_weights({**FILES, **sizes})
    assert found is not None
    assert found.complete
    return found.form, found.size


def parts(count: int, template: str) -> dict[str, int]:
    return {template.format(n, count): 10 for n in range(1, count + 1)}


@pytest.mark.parametrize(
    "template",
    [
        "model-{:05}-of-{:05}.safetensors",
        "model.safetensors-{:05}-of-{:05}.safetensors",
    ],
)
def test_the_parts_of_a_model_are_counted(template: str) -> None:
    assert form(parts(3, template)) == ("safetensors", 30)


def test_copies_in_folders_are_not_loaded() -> None:
    copies = {"original/model.safetensors": 99, "metal/model.bin": 99}
    sizes = {**parts(3, "model-{:05}-of-{:05}.safetensors"), **copies}
    assert form(sizes) == ("safetensors", 30)
    assert form({"gptq.safetensors": 6, "onnx/a.safetensors": 9}) == ("safetensors", 6)
    assert find_weights({**FILES, **copies}) is None


def test_safetensors_come_before_every_other_form() -> None:
    sizes = {"consolidated.safetensors": 7, "pytorch_model.bin": 8}
    assert form({**sizes, "model.safetensors": 5}) == ("safetensors", 5)
    assert form(sizes) == ("mistral", 7)
    assert form({"pytorch_model.bin": 8, "other.bin": 1}) == ("pickled", 8)
    assert form(parts(2, "pytorch_model-{:05}-of-{:05}.bin")) == ("pickled", 20)
    assert form({"gptq_model-4bit-128g.safetensors": 6}) == ("safetensors", 6)


def test_adapters_and_states_of_training_are_no_weights() -> None:
    states = {
        "adapter_model.safetensors": 5,
        "training_args.bin": 1,
        "optimizer.bin": 2,
    }
    assert find_weights({**FILES, **states}) is None


def test_missing_parts_are_noticed() -> None:
    some = {"model-00001-of-00003.safetensors": 10}
    assert find_weights(some) == Weights("safetensors", 10, complete=False)


def test_the_form_of_mistral_is_noticed_beside_others() -> None:
    both = {"consolidated.safetensors": 7, "model.safetensors": 7}
    assert has_mistral_format(both)
    assert not has_mistral_format({"original/consolidated.00.pth": 7})
