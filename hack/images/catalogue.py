"""The images of this repository, and what decides their content."""

from dataclasses import dataclass, field
from pathlib import Path

from hack import paths
from hack.images import content
from hack.images.base import BASE

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Image:
    """An image that the repository builds.

    Attributes:
        name: Its folder under hack/images, and the last part of its name.
        arguments: Values of its Containerfile's ARG lines.
        stands_for: The public image, by its name, whose place it takes on a
            cluster that reaches no public registry; empty for one of our own.
    """

    name: str
    arguments: dict[str, str] = field(default_factory=dict)
    stands_for: str = ""

    @property
    def containerfile(self) -> Path:
        """How it is built."""
        return FOLDER / self.name / "Containerfile"

    @property
    def tag(self) -> str:
        """A hash of all that decides what is in it."""
        text = self.containerfile.read_text()
        salt = (text, BASE, *(f"{k}={v}" for k, v in sorted(self.arguments.items())))
        sources = [paths.ROOT / source for source in content.copied(text)]
        return content.digest(sources, relative_to=paths.ROOT, salt=salt)


@dataclass(frozen=True)
class Built:
    """An image that lies in the local storage.

    Attributes:
        repository: Its name below a registry, as in ``pykaito/operator``.
        tag: A hash of its content.
    """

    repository: str
    tag: str

    @property
    def reference(self) -> str:
        """Its name in the local storage."""
        return f"localhost/{self.repository}:{self.tag}"

    @property
    def unfinished(self) -> str:
        """The name of its last build, whatever that held."""
        return f"localhost/{self.repository}:unfinished"


def has_gpu() -> bool:
    """Say whether this machine has NVIDIA's driver."""
    return Path("/dev/nvidiactl").exists()


OPERATOR = Image("operator")
TRANSFORMERS = Image("transformers", {"TORCH": "cuda" if has_gpu() else "cpu"})

VLLM = Image("vllm", {"TORCH": "cuda" if has_gpu() else "cpu"})

CURL = Image("curl", stands_for="curlimages/curl:latest")
HUB = Image("hub")

#: Every image that the operator needs, by name.
ALL = {image.name: image for image in (OPERATOR, TRANSFORMERS)}
#: Large, and needed by few: built by name alone.
ON_DEMAND = {image.name: image for image in (VLLM,)}
#: What takes the place of the world outside, for the documents' commands.
STAND_INS = {image.name: image for image in (CURL, HUB)}
