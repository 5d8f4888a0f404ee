"""The model that vLLM is given: a folder, whatever the command names."""

import pytest

from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.vllm.model import with_model
from tests.unit.runtime.hf.hub_gate import MODEL, Gate


@pytest.mark.parametrize(
    ("given", "environ"),
    [
        (["--dtype=auto"], {}),
        (["--model=/workspace/weights"], {}),
        (["--model=s3://bucket/model", "--load-format=runai_streamer"], {}),
        (["--model=org/name", "--load-format", "gguf"], {}),
        (["--model=org/name"], {"VLLM_USE_MODELSCOPE": "True"}),
    ],
)
def test_what_is_none_of_ours_to_fetch_is_left_to_vllm(
    given: list[str], environ: dict[str, str]
) -> None:
    before = dict(environ)
    assert with_model(given, {}, environ, Progress()) == given
    assert environ == before


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        (["--served-model-name=m"], {"HF_HUB_OFFLINE": "1"}),
        (["--served-model-name=m", "--trust-remote-code"], {}),
        (["--served-model-name=m", "--tokenizer=org/other"], {}),
    ],
)
def test_the_hub_is_asked_no_more_unless_for_another_model(
    flags: list[str], environ: dict[str, str], gate: Gate
) -> None:
    found: dict[str, str] = {}
    given = [f"--model={MODEL}", "--revision", "c" * 40, *flags]
    words = with_model(given, {}, found, Progress())
    assert words[0].endswith(f"/snapshots/{'c' * 40}")
    assert words[1:] == given[1:]
    assert found == environ
    assert any("c" * 40 in path for path in gate.asked)
