from pathlib import Path

import pytest

from pykaito.runtime.hf.flags import FlagError, parse_flags

KAITO = (
    "--pipeline text-generation --torch_dtype bfloat16 --load_in_4bit "
    "--served_model_name=falcon-7b --allow_remote_files --trust_remote_code"
)


def test_the_command_that_kaito_writes_is_understood() -> None:
    settings = parse_flags(KAITO.split())
    assert settings.pipeline == "text-generation"
    assert settings.torch_dtype == "bfloat16"
    assert settings.load_in_4bit
    assert not settings.load_in_8bit
    assert settings.allow_remote_files
    assert settings.pretrained_model_name_or_path == "/workspace/weights"
    assert settings.port == 5000


def test_hyphens_and_underscores_are_the_same() -> None:
    assert parse_flags(["--max-model-len=8"]).max_model_len == 8
    assert parse_flags(["--max_model_len", "8"]).max_model_len == 8


@pytest.mark.parametrize(("value", "found"), [("true", True), ("False", False)])
def test_a_switch_may_carry_a_value(value: str, *, found: bool) -> None:
    assert parse_flags([f"--load_in_8bit={value}"]).load_in_8bit is found


def test_the_model_is_served_under_the_last_part_of_its_path() -> None:
    path = "--pretrained_model_name_or_path=microsoft/Phi-3.5-mini-instruct"
    assert parse_flags([path]).served_model_name == "phi-3.5-mini-instruct"


def test_a_chat_template_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "template.jinja"
    file.write_text("{{ messages }}")
    assert parse_flags([f"--chat_template={file}"]).chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--pipeline=chat",
            "--pipeline: found 'chat', must be one of text-generation, conversational",
        ),
        ("--torch_dtype=int8", "--torch_dtype: found 'int8', must be one of auto,"),
        ("--port=70000", "--port: found '70000', must be a whole number from 0 to"),
        ("--max_queue=-1", "--max_queue: found '-1', must be a whole number of 0"),
        ("--request_timeout=nan", "--request_timeout: found 'nan', must be a number"),
        ("--request_timeout=inf", "--request_timeout: found 'inf', must be a number"),
        ("--load_in_4bit=yes", "--load_in_4bit: found 'yes', must be true or false"),
        ("--load_in_4_bit", "--load_in_4_bit: unknown flag; did you mean '--load_in_"),
        ("--chat_template=/none", "--chat_template: found '/none', must be a readable"),
        ("--served_model_name=", "--served_model_name: found an empty value"),
    ],
)
def test_a_wrong_flag_is_named_with_what_was_found_and_what_is_right(
    flag: str, message: str
) -> None:
    with pytest.raises(FlagError) as error:
        parse_flags([flag])
    assert str(error.value).startswith(message)


def test_only_one_quantisation_can_be_asked_for() -> None:
    with pytest.raises(FlagError, match="found both, give one"):
        parse_flags(["--load_in_4bit", "--load_in_8bit"])
