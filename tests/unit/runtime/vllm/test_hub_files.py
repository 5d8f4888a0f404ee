"""Of what a hub has of a model, vLLM reads one copy."""

import pytest

from pykaito.runtime.vllm.hub_files import files_of, is_complete, weights_of

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
LLAMA = [
    ".gitattributes",
    "LICENSE",
    "README.md",
    "config.json",
    "generation_config.json",
    *SHARDS,
    "model.safetensors.index.json",
    "original/consolidated.00.pth",
    "original/params.json",
    "original/tokenizer.model",
    "pytorch_model.bin",
    "tokenizer.json",
]
MISTRAL = ["config.json", "params.json", "consolidated.safetensors", *SHARDS]


def test_a_model_is_fetched_once_with_its_configuration_and_tokenizer() -> None:
    assert sorted(files_of(LLAMA, "auto")) == sorted(
        [
            "LICENSE",
            "config.json",
            "generation_config.json",
            "model.safetensors.index.json",
            "tokenizer.json",
            *SHARDS,
        ]
    )


@pytest.mark.parametrize(
    ("load_format", "weights"),
    [
        ("auto", ["consolidated.safetensors"]),
        ("mistral", ["consolidated.safetensors"]),
        ("hf", SHARDS),
        ("safetensors", SHARDS),
    ],
)
def test_of_mistrals_two_copies_that_is_fetched_which_vllm_prefers(
    load_format: str, weights: list[str]
) -> None:
    assert weights_of(MISTRAL, load_format) == weights


def test_pickles_are_fetched_where_there_is_nothing_better() -> None:
    names = ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "model.pt"]
    assert weights_of(names, "auto") == ["pytorch_model.bin"]
    assert weights_of(["model.pt"], "auto") == ["model.pt"]


def test_what_vllm_does_not_read_is_no_model() -> None:
    names = ["tf_model.h5", "model.onnx", "x.gguf", "vae/model.safetensors"]
    assert files_of(names, "auto") == []


def test_modules_of_a_pooling_model_are_part_of_it() -> None:
    names = ["model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors"]
    assert sorted(files_of(names, "auto")) == sorted(names)
    assert weights_of(names, "auto") == ["model.safetensors"]


@pytest.mark.parametrize(
    ("names", "complete"),
    [
        (LLAMA, True),
        (["config.json", *SHARDS[:1]], False),
        (["config.json"], False),
        (["consolidated.safetensors"], True),
    ],
)
def test_weights_of_which_a_part_is_missing_are_not_complete(
    names: list[str], complete: bool
) -> None:
    assert is_complete(names, "auto") is complete
