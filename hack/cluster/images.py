"""Images FROM scratch that hold one static program: pause and CoreDNS."""

import hashlib
import shutil
from pathlib import Path

from hack.cluster.commands import run
from hack.cluster.progress import step
from hack.cluster.registry import OPEN, Registries, insecure_flags
from hack.cluster.state import State

_BUILD_TIMEOUT = 120.0


def ensure_pause_program(state: State) -> Path:
    """Compile the program that holds a machine or a pod."""
    program = state.directory("bin") / "pause"
    if not program.exists():
        source = Path(__file__).with_name("pause.c")
        run("gcc", "-Os", "-static", "-s", "-Wall", "-Wextra", "-o", program, source)
    return program


def ensure_image(state: State, registries: Registries, program: Path) -> str:
    """Put an image of one program into the open registry, unless it is there.

    Returns:
        The image's name, which changes with the program's content.
    """
    with program.open("rb") as file:
        tag = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    repository = f"pykaito/{program.name}"
    name = f"{OPEN}/{repository}:{tag}"
    if not registries.has(repository, tag):
        with step(f"image {program.name}"):
            _build(state, program, name)
    return name


def _build(state: State, program: Path, name: str) -> None:
    # buildah's storage lies in the state directory, so that nothing of it stays.
    work = state.directory("build", program.name)
    shutil.copy(program.resolve(), work / program.name)
    recipe = state.write(
        f"build/{program.name}/Containerfile",
        f"FROM scratch\nCOPY {program.name} /{program.name}\n"
        f'ENTRYPOINT ["/{program.name}"]\n',
    )
    buildah = (
        *("buildah", "--storage-driver", "vfs"),
        *("--root", work / "storage", "--runroot", work / "run"),
    )
    run(
        *buildah,
        *("bud", "--isolation", "chroot", "--tag", name, "--file", recipe, work),
        timeout=_BUILD_TIMEOUT,
    )
    run(*buildah, "push", *insecure_flags(OPEN), name, timeout=_BUILD_TIMEOUT)
    shutil.rmtree(work)
