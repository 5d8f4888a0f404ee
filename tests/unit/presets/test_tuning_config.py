"""Parameters of a tuning job are read, or refused with path, found and remedy."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pykaito.runtime.presets.settings_text import InvalidConfigError
from pykaito.runtime.presets.tuning_config import SECTIONS, parse_training_config

LORA = """
training_config:
  ModelConfig: {torch_dtype: bfloat16, local_files_only: true, device_map: auto}
  QuantizationConfig: {load_in_4bit: false}
  LoraConfig: {r: 8, lora_alpha: 8, lora_dropout: 0.0}
  TrainingArguments:
    output_dir: /mnt/results
    ddp_find_unused_parameters: false
    save_strategy: "no"
    per_device_train_batch_size: 1
  DataCollator: {mlm: true}
  DatasetConfig: {shuffle_dataset: true, train_test_split: 1}
"""


def refusal(text: str, method: str = "lora") -> str:
    with pytest.raises(InvalidConfigError) as caught:
        parse_training_config(text, method)
    return str(caught.value)


def section(name: str, values: str, method: str = "lora") -> str:
    return refusal(f"training_config: {{{name}: {{{values}}}}}", method)


def test_the_originals_default_of_lora_is_read() -> None:
    config = parse_training_config(LORA, "LoRA")
    assert set(config.sections) == set(SECTIONS)
    assert config.sections["LoraConfig"]["r"] == 8
    assert config.output == "/mnt/results"


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_qlora_takes_either_of_two_widths(bits: str) -> None:
    text = f"training_config: {{QuantizationConfig: {{{bits}: true}}}}"
    assert parse_training_config(text, "QLoRA").sections["QuantizationConfig"][bits]


@pytest.mark.parametrize(
    "text",
    ["", "LoraConfig: {r: 8}", "a: 1", "[]", "x", "{training_config: {}, a: 1}"],
)
def test_all_is_below_one_name(text: str) -> None:
    assert "training_config" in refusal(text)


def test_a_section_that_there_is_not_is_told_with_the_nearest() -> None:
    message = section("LoRAConfig", "r: 8")
    assert message.startswith("training_config.LoRAConfig: found no section of it")
    assert "did you mean LoraConfig?" in message
    assert "use ModelConfig, QuantizationConfig" in section("Zzz", "")


def test_a_section_without_names_is_refused() -> None:
    assert refusal("training_config: {LoraConfig: [r]}") == (
        "training_config.LoraConfig: found a list; write names and values"
    )


def test_an_empty_section_sets_nothing() -> None:
    config = parse_training_config("training_config: {LoraConfig: }", "lora")
    assert config.sections == {"LoraConfig": {}}


@pytest.mark.parametrize("found", ["4", "yes please", "'true'"])
def test_a_width_is_true_or_false(found: str) -> None:
    message = section("QuantizationConfig", f"load_in_8bit: {found}")
    assert "QuantizationConfig.load_in_8bit: found" in message
    assert message.endswith("write true or false")


def test_one_width_at_most() -> None:
    both = "load_in_4bit: true, load_in_8bit: true"
    assert "not both" in section("QuantizationConfig", both, "qlora")


def test_lora_takes_no_width() -> None:
    message = section("QuantizationConfig", "load_in_4bit: true")
    assert "load_in_4bit: found True; the method lora tunes unquantised" in message


@pytest.mark.parametrize("text", ["training_config:", "training_config: {}"])
def test_qlora_takes_one_width(text: str) -> None:
    message = refusal(text, "qlora")
    assert "found neither load_in_4bit nor load_in_8bit" in message


@pytest.mark.parametrize(
    ("written", "output"),
    [
        ("results", "/mnt/results"),
        ("./a/../b", "/mnt/b"),
        ("/mnt/a/b/", "/mnt/a/b"),
        ("/mnt/../mnt/x", "/mnt/x"),
    ],
)
def test_results_go_below_their_volume(written: str, output: str) -> None:
    text = f"training_config: {{TrainingArguments: {{output_dir: {written}}}}}"
    assert parse_training_config(text, "lora").output == output


def test_without_a_folder_results_go_to_the_usual_one() -> None:
    assert parse_training_config("training_config: {}", "lora").output == "/mnt/results"


@pytest.mark.parametrize(
    "written", ["/mnt", "/mnt/", ".", "..", "/srv/x", "/mntx/a", "../etc", "7", "''"]
)
def test_results_elsewhere_would_be_lost(written: str) -> None:
    message = section("TrainingArguments", f"output_dir: {written}")
    assert message.startswith("training_config.TrainingArguments.output_dir: found")
    assert "below /mnt" in message


@pytest.mark.parametrize("split", ["0", "-0.1", "1.5", "true", "half", ".nan"])
def test_some_of_the_data_is_trained_on(split: str) -> None:
    message = section("DatasetConfig", f"train_test_split: {split}")
    assert "train_test_split: found" in message
    assert "above 0 and at most 1" in message


@given(
    text=st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: st.dictionaries(
                st.sampled_from(["training_config", *SECTIONS, "output_dir", "x"]),
                inner,
            ),
        ).map(yaml.safe_dump),
    ),
    method=st.sampled_from(["lora", "QLORA"]),
)
def test_any_text_is_read_or_refused(text: str, method: str) -> None:
    try:
        config = parse_training_config(text, method)
    except InvalidConfigError:
        return
    assert config.output.startswith("/mnt/")
