"""Take chat templates from the sources of vLLM that the image installs.

vLLM's wheel does not have them: they are examples of its repository, and so of its
source distribution, whose address and hash ``uv.lock`` has beside the wheel's.

    python3 chat_templates.py source REQUIREMENTS UV_LOCK > SOURCE
    python3 chat_templates.py take SOURCE FOLDER

They are two steps, for a build to fetch the sources again only for another version.
"""

import hashlib
import io
import json
import re
import sys
import tarfile
import time
import tomllib
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Templates as KAITO and our catalogue name them, and their files.
TEMPLATES = {
    "tool-chat-deepseekr1.jinja": "examples/tool_chat_template_deepseekr1.jinja",
    "tool-chat-deepseekv3.jinja": "examples/tool_chat_template_deepseekv3.jinja",
    "tool-chat-gemma4.jinja": "examples/tool_chat_template_gemma4.jinja",
    "tool-chat-hermes.jinja": "examples/tool_chat_template_hermes.jinja",
    "tool-chat-llama3.1-json.jinja": "examples/tool_chat_template_llama3.1_json.jinja",
    "tool-chat-phi4-mini.jinja": "examples/tool_chat_template_phi4_mini.jinja",
}
LICENCE = "LICENSE"

ATTEMPTS = 3
PAUSE_SECONDS = 5
#: Without a byte from the registry.
SILENCE_SECONDS = 60


class SourceError(Exception):
    """The sources are not what they should be; the message says where and how."""


def source_of(requirements: str, lock: str) -> dict[str, str]:
    """Return the address and hash of the sources of what is installed.

    Args:
        requirements: What is installed, as pip reads it.
        lock: The content of ``uv.lock``.

    Raises:
        SourceError: The one has no vLLM, or the other not that version of it.
    """
    # The build for CPUs has vLLM's versions.
    found = re.search(r"^vllm(?:-cpu)?==([^\s;\\]+)", requirements, re.MULTILINE)
    if found is None:
        raise SourceError("the requirements have no vllm==VERSION")
    for package in tomllib.loads(lock)["package"]:
        if package["name"] == "vllm" and package["version"] == found[1]:
            sources = package["sdist"]
            return {"url": sources["url"], "hash": sources["hash"]}
    raise SourceError(
        f"uv.lock: found no vllm {found[1]}, which is installed; the versions of the "
        "images for CPUs and GPUs must be one"
    )


def take(archive: bytes, source: Mapping[str, str], folder: Path) -> None:
    """Write the templates and their licence.

    Args:
        archive: The source distribution.
        source: What `source_of` gave.
        folder: Where to; it is made.

    Raises:
        SourceError: The archive is another one, or has not all of them.
    """
    digest = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    if digest != source["hash"]:
        raise SourceError(f"{source['url']}: found {digest}, must be {source['hash']}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        found = {
            # The first folder of an sdist is its name and version.
            member.name.partition("/")[2]: member
            for member in members
            if member.isfile()
        }
        for name, path in {**TEMPLATES, LICENCE: LICENCE}.items():
            content = members.extractfile(found[path]) if path in found else None
            if content is None:
                raise SourceError(f"{source['url']}: has no {path}")
            (folder / name).write_bytes(content.read())


def download(url: str) -> bytes:
    """Fetch a file.

    Raises:
        OSError: No attempt succeeded.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as reply:  # noqa: S310 - of uv.lock
                content: bytes = reply.read()
                return content
        except OSError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError


def main(arguments: list[str]) -> None:
    """Do one of the two steps."""
    step, *paths = arguments
    one, other = map(Path, paths)
    if step == "source":
        json.dump(source_of(one.read_text(), other.read_text()), sys.stdout)
        return
    source: dict[str, Any] = json.loads(one.read_text())
    take(download(source["url"]), source, other)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, SourceError) as error:
        sys.exit(f"chat_templates: {error}")
