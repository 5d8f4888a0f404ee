import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hack.models.architectures import ARCHITECTURES, SIZES
from hack.models.corpus import corpus_of
from hack.models.model import save_model

ROOT = Path(__file__).resolve().parents[3]
TEXT = ["def reconcile(workspace):\n    return workspace.status\n"] * 40
CHAT = [{"role": "user", "content": "Hello"}]


def save(folder: Path, architecture: str) -> int:
    return save_model(
        folder,
        architecture=ARCHITECTURES[architecture],
        size=SIZES["tiny"],
        corpus=TEXT,
        seed=0,
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_model_is_of_the_real_architecture_and_small(
    name: str, tmp_path: Path
) -> None:
    parameters = save(tmp_path, name)
    assert 1e6 < parameters < 4e6
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == name
    assert (tmp_path / "model.safetensors").stat().st_size < 10e6
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(model).__name__.lower().startswith(name)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_generation_ends_at_the_tokens_that_end_an_answer(
    name: str, tmp_path: Path
) -> None:
    save(tmp_path, name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "generation_config.json").read_text())
    ends = tokenizer.convert_ids_to_tokens(config["eos_token_id"])
    assert tuple(ends) == ARCHITECTURES[name].end_tokens


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_chat_ends_where_the_assistant_begins(name: str, tmp_path: Path) -> None:
    save(tmp_path, name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer.apply_chat_template(
        CHAT, add_generation_prompt=True, tokenize=False
    )
    assert "Hello" in text
    assert "assistant" in text.lower().rpartition("hello")[2]


def test_every_text_has_tokens_and_comes_back(tmp_path: Path) -> None:
    save(tmp_path, "phi3")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in ["def main():", "Größe 北京 👩‍🚀", "\x00\t\r\n"]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text


def test_every_file_can_be_read_by_anyone(tmp_path: Path) -> None:
    save(tmp_path, "phi3")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_the_same_seed_gives_the_same_bytes_in_another_process(
    tmp_path: Path,
) -> None:
    save(tmp_path / "one", "llama")
    code = (
        "import sys, json; from pathlib import Path;"
        "from hack.models.architectures import ARCHITECTURES, SIZES;"
        "from hack.models.model import save_model;"
        "save_model(Path(sys.argv[1]), architecture=ARCHITECTURES['llama'],"
        "size=SIZES['tiny'], corpus=json.loads(sys.argv[2]), seed=0)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "two"), json.dumps(TEXT)],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_corpus_is_the_repositorys_own_text_in_a_fixed_order() -> None:
    corpus = corpus_of(ROOT)
    assert corpus == corpus_of(ROOT)
    assert any("def save_model(" in text for text in corpus)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_one_for_its_model_and_the_same_each_time(tmp_path: Path) -> None:
    # Importing peft takes ten seconds, and no other test of this file needs it.
    from hack.models.adapter import save_adapter  # noqa: PLC0415
    from pykaito.runtime.hf.adapters import Adapter  # noqa: PLC0415
    from pykaito.runtime.hf.lora_files import read_adapter  # noqa: PLC0415
    from pykaito.runtime.hf.lora_merge import merge_adapters  # noqa: PLC0415

    model = tmp_path / "falcon"
    save(model, "falcon")
    for name, seed in {"one": 1, "again": 1, "two": 2}.items():
        save_adapter(tmp_path / name, model, seed=seed)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    assert digests(tmp_path / "one") != digests(tmp_path / "two")
    base = AutoModelForCausalLM.from_pretrained(model)
    merge_adapters(base, [read_adapter(Adapter("one", 1.0, tmp_path / "one"))])
