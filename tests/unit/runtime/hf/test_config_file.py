from pathlib import Path

import pytest

from pykaito.runtime.hf.config_file import ConfigFile, read_config_file
from pykaito.runtime.hf.flags import FlagError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "inference_config.yaml"


def test_the_length_is_taken_and_the_rest_is_named(file: Path) -> None:
    """The default template of a Workspace, with a length."""
    file.write_text(
        "max_probe_steps: 6\n"
        "vllm:\n  cpu-offload-gb: 0\n  gpu-memory-utilization: 0.95\n"
        "  max-model-len: 2048\n"
    )
    assert read_config_file(file) == ConfigFile(
        max_model_len=2048,
        unused=(
            "max_probe_steps",
            "vllm.cpu-offload-gb",
            "vllm.gpu-memory-utilization",
        ),
    )


@pytest.mark.parametrize(
    "line", ["max-model-len: 100", "max_model_len: 100", "max-model-len: '100'"]
)
def test_a_length_is_understood_as_vllm_does(file: Path, line: str) -> None:
    file.write_text(f"vllm:\n  {line}\n")
    assert read_config_file(file) == ConfigFile(max_model_len=100)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing",
        "vllm:",
        "vllm: {max-model-len: auto}",
        "vllm: {max-model-len: -1}",
    ],
)
def test_a_file_may_leave_the_length_to_the_model(file: Path, content: str) -> None:
    file.write_text(content)
    assert read_config_file(file) == ConfigFile()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("vllm: [", "is no YAML"),
        ("!!python/object/apply:os.getpid []", "is no YAML"),
        ("[" * 10**4, "is no YAML"),
        ("just text", "the file: found 'just text', must be keys with values"),
        ("vllm: 1", "vllm: found 1, must be keys with values"),
        ("vllm: {max-model-len: 0}", "vllm.max-model-len: found 0, must be a whole"),
        ("vllm: {max-model-len: 2.5}", "found 2.5"),
        ("vllm: {max-model-len: true}", "found True"),
        ("vllm: {max-model-len: 8k}", "found '8k'"),
        (f"vllm: {{max-model-len: {'9' * 5000}}}", "is no YAML"),
        ("vllm: {max-model-len: 9999999999}", "found 9999999999"),
        ("since: 2001-13-45", "is no YAML"),
    ],
)
def test_a_broken_file_is_told_with_its_path(
    file: Path, content: str, wrong: str
) -> None:
    file.write_text(content)
    with pytest.raises(FlagError) as error:
        read_config_file(file)
    assert str(error.value).startswith(f"KAITO_CONFIG_FILE: {file} ")
    assert wrong in str(error.value)


def test_a_missing_file_is_told(file: Path) -> None:
    with pytest.raises(FlagError, match="cannot be read"):
        read_config_file(file)
