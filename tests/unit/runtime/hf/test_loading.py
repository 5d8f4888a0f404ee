import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.loading import LoadedModel, load_model
from pykaito.runtime.hf.lora_files import read_adapter
from pykaito.runtime.hf.model_source import LoadError, find_model
from pykaito.runtime.hf.progress import Progress
from pykaito.runtime.hf.start_engine import start_engine

from .lora import factors, write_adapter


def load(folder: Path, *flags: str) -> LoadedModel:
    path = f"--pretrained_model_name_or_path={folder}"
    return load_model(parse_flags([path, *flags]), Progress())


@pytest.fixture
def folder(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """Copy a tiny model, to change it."""
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))


def change(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


class Recorded(Progress):
    """All that was told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.ratios: list[float] = []

    def begin(self, stage: str) -> None:
        super().begin(stage)
        self.told.append(stage)

    def load(self, loaded: float) -> None:
        super().load(loaded)
        self.ratios.append(loaded)
        assert self.share == loaded


def test_loading_tells_its_progress(folder: Path) -> None:
    progress = Recorded()
    load_model(parse_flags([f"--pretrained_model_name_or_path={folder}"]), progress)
    assert progress.told == ["loading the tokenizer", "generating a first token"]
    assert progress.ratios[0] == 0
    assert progress.ratios[-1] == 1
    assert len(progress.ratios) > 10
    assert progress.ratios == sorted(progress.ratios)
    assert progress.share is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_have_the_type_of_the_flag(folder: Path, dtype: str) -> None:
    loaded = load(folder, f"--torch_dtype={dtype}")
    assert str(loaded.model.dtype) == f"torch.{dtype}"


def test_the_type_auto_is_the_one_they_are_stored_in(folder: Path) -> None:
    assert str(load(folder).model.dtype) == "torch.bfloat16"


def test_the_context_is_the_models_unless_a_flag_shortens_it(folder: Path) -> None:
    assert load(folder).context_length == 4096
    assert load(folder, "--max_model_len=100").context_length == 100


def test_a_longer_context_than_the_models_is_not_promised(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(folder, "--max_model_len=9999").context_length == 4096
    (told,) = [one for one in caplog.records if "the context is" in one.getMessage()]
    assert (vars(told)["asked"], vars(told)["context_length"]) == (9999, 4096)


def test_a_chat_template_of_the_flag_goes_before_the_tokenizers(folder: Path) -> None:
    own = load(folder).chat_template
    assert own is not None
    assert "start_header_id" in own
    file = folder / "other.jinja"
    file.write_text("{{ messages[0].content }}")
    found = load(folder, f"--chat_template={file}").chat_template
    assert found == "{{ messages[0].content }}"


def test_requests_leave_to_the_model_what_its_makers_have_set(folder: Path) -> None:
    change(
        folder / "generation_config.json", temperature=0.6, top_p=0.9, do_sample=True
    )
    path = f"--pretrained_model_name_or_path={folder}"
    started = start_engine(parse_flags([path]), Progress())
    started.engine.close()
    assert started.defaults == {"temperature": 0.6, "top_p": 0.9}


def test_quantised_weights_and_adapters_are_refused_before_loading(
    folder: Path, tmp_path: Path
) -> None:
    module = "model.layers.0.self_attn.q_proj"
    adapter = write_adapter(tmp_path / "a", {module: factors(192, 192)})
    path = f"--pretrained_model_name_or_path={folder}"
    settings = parse_flags([path, "--load_in_8bit"])
    with pytest.raises(
        LoadError, match=r"^--load_in_8bit: found together with adapters"
    ):
        load_model(settings, Progress(), [read_adapter(adapter)])


def test_quantisation_without_a_gpu_is_refused(folder: Path) -> None:
    with pytest.raises(LoadError, match=r"^--load_in_4bit: needs a GPU, found none$"):
        load(folder, "--load_in_4bit")


def test_a_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"a folder without config\.json"):
        find_model(str(tmp_path))


def test_weights_that_are_cut_off_are_told_in_one_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LoadError, match="cannot load the model") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_a_model_of_the_hub_is_not_fetched_unless_allowed() -> None:
    with pytest.raises(LoadError, match="cannot load the model 'org/name'"):
        load(Path("org/name"))


def test_an_unknown_architecture_is_told_in_one_line(folder: Path) -> None:
    change(folder / "config.json", model_type="unheard_of")
    with pytest.raises(LoadError, match="unheard_of"):
        load(folder)
