"""Where a model's weights come from, and what outlives a pod: pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pykaito.api import labels
from pykaito.api.schema import DNS_SUBDOMAIN, matches
from pykaito.api.v1beta1 import inference as api
from pykaito.api.v1beta1.workspace import Workspace
from pykaito.runtime.presets.annotations import UnknownValueError, field_of

IMAGE_FIELD = "inference.preset.presetOptions.image"

#: Where nodes keep models, each in a folder of its own.
LOCAL_MODELS = "/opt/kaito/models"

#: Characters of the name of a Kubernetes object, and of a claim's folder.
MAX_NAME, MAX_FOLDER = 253, 1024
#: Of a folder's path each part, but for those that lead out of it.
_PART = re.compile(r"[A-Za-z0-9._-]+")
_LEADS_OUT = frozenset({".", ".."})

_WEIGHTS_CLAIM_FORM = (
    "write the name of a PersistentVolumeClaim of the Workspace's namespace, and after "
    "a slash the folder in it if the weights are in one, such as models/phi-3"
)
_CACHE_CLAIM_FORM = (
    "write the name of a PersistentVolumeClaim of the Workspace's namespace"
)


@dataclass(frozen=True, slots=True)
class FromHub:
    """Downloaded when the server starts."""


@dataclass(frozen=True, slots=True)
class FromImage:
    """Files of a container image."""

    image: str
    #: The kubelet mounts the image; else its files are copied into a volume.
    mounted: bool = False


@dataclass(frozen=True, slots=True)
class FromNode:
    """A folder that the nodes have."""

    folder: str


@dataclass(frozen=True, slots=True)
class FromClaim:
    """A PersistentVolumeClaim, or a folder of it if one is named."""

    claim: str
    folder: str = ""


Weights = FromHub | FromImage | FromNode | FromClaim


def weights_of(workspace: Workspace, preset: api.Preset) -> Weights:
    """Return where the weights of a Workspace's preset come from.

    Raises:
        UnknownValueError: an annotation says what it cannot, or names a source beside
            another.
    """
    annotations = workspace.metadata.annotations
    options = preset.preset_options or api.PresetOptions()
    named: list[tuple[str, str, Weights]] = []
    mounted = annotations.get(labels.MOUNT_WEIGHTS_IMAGE) == "true"
    if options.image:
        source = FromImage(options.image, mounted=mounted)
        named.append((IMAGE_FIELD, options.image, source))
    elif mounted:
        raise UnknownValueError(
            f"{field_of(labels.MOUNT_WEIGHTS_IMAGE)}: found 'true', and {IMAGE_FIELD} "
            "names no image; name the one to mount, or remove the annotation"
        )
    if annotations.get(labels.USE_LOCAL_WEIGHTS) == "true":
        local = FromNode(local_folder(preset.name))
        named.append((field_of(labels.USE_LOCAL_WEIGHTS), "true", local))
    if (claim := annotations.get(labels.WEIGHTS_CLAIM)) is not None:
        named.append((field_of(labels.WEIGHTS_CLAIM), claim, _from_claim(claim)))
    if len(named) > 1:
        *others, (field, found, _) = named
        also = " and ".join(f"{other} {written!r}" for other, written, _ in others)
        raise UnknownValueError(
            f"{field}: found {found!r} beside {also}; weights come from one place: "
            "keep one of them"
        )
    return named[0][2] if named else FromHub()


def cache_claim_of(workspace: Workspace) -> str:
    """Return the claim that keeps what a server made or fetched; empty for none.

    Raises:
        UnknownValueError: the annotation names none, or the one of the weights.
    """
    annotations = workspace.metadata.annotations
    claim = annotations.get(labels.CACHE_CLAIM)
    if claim is None:
        return ""
    field = field_of(labels.CACHE_CLAIM)
    if not _is_name(claim):
        raise _wrong(field, claim, _CACHE_CLAIM_FORM)
    if annotations.get(labels.WEIGHTS_CLAIM, "").partition("/")[0] == claim:
        raise UnknownValueError(
            f"{field}: found {claim!r}, which {field_of(labels.WEIGHTS_CLAIM)} names "
            "too: a server could write to its weights; name another claim"
        )
    return claim


def local_folder(preset: str) -> str:
    """Return where a node keeps the weights of a preset, by its name as written."""
    return f"{LOCAL_MODELS}/{preset.lower().replace('/', '-')}"


def doubts_of_claims(workspace: Workspace) -> Iterator[str]:
    """Yield what is likely not meant of claims that several nodes share."""
    if (count := workspace.resource.count) == 1:
        return
    for field, mode in _claimed(workspace):
        yield (
            f"{field}: {count} nodes share the claim, so it needs the access mode "
            f"{mode}; one of ReadWriteOnce is on one node at a time"
        )


def _claimed(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield the fields that name claims, and the access mode that sharing takes."""
    to_read = "ReadOnlyMany or ReadWriteMany"
    for annotation, mode in (
        (labels.WEIGHTS_CLAIM, to_read),
        (labels.CACHE_CLAIM, "ReadWriteMany"),
    ):
        if annotation in workspace.metadata.annotations:
            yield field_of(annotation), mode
    adapters = workspace.inference.adapters if workspace.inference else ()
    for index, adapter in enumerate(adapters):
        if "persistentVolumeClaim" in (adapter.source.volume_source or {}):
            yield f"inference.adapters[{index}].source.volumeSource", to_read


def _from_claim(written: str) -> FromClaim:
    claim, slash, folder = written.partition("/")
    parts = folder.split("/") if slash else []
    if not _is_name(claim) or len(folder) > MAX_FOLDER or not all(map(_is_part, parts)):
        raise _wrong(field_of(labels.WEIGHTS_CLAIM), written, _WEIGHTS_CLAIM_FORM)
    return FromClaim(claim, folder)


def _is_name(claim: str) -> bool:
    return len(claim) <= MAX_NAME and matches(DNS_SUBDOMAIN, claim)


def _is_part(part: str) -> bool:
    return part not in _LEADS_OUT and bool(_PART.fullmatch(part))


def _wrong(field: str, found: str, right: str) -> UnknownValueError:
    return UnknownValueError(f"{field}: found {found[:MAX_NAME]!r}; {right}")
