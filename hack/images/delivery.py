"""Bring images to where the cluster's nodes find them, whichever cluster it is.

The local cluster and one of the user's pull from a registry; kind's nodes are
handed images by `kind load`, built by the Docker that runs them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack import paths
from hack.cluster.commands import ClusterError, run
from hack.cluster.progress import step
from hack.images import content
from hack.images.build import build
from hack.images.catalogue import Image
from hack.images.packing import ADAPTER, WEIGHTS, pack_adapter, pack_weights
from hack.images.registry import Registry, alias, local, protected, push

_BUILD_TIMEOUT = 3600.0
_LOAD_TIMEOUT = 600.0


@dataclass(frozen=True)
class Delivered:
    """An image that nodes can have.

    Attributes:
        reference: its name, as a Pod writes it.
        login: the registry to log in to for it; None where none is needed.
    """

    reference: str
    login: Registry | None = None


def deliver(image: Image) -> str:
    """Build an image of the repository, bring it to the nodes, return its reference.

    One that stands in for a public image is brought to the local cluster alone,
    under the public name: the others pull the public one.

    Raises:
        ClusterError: No cluster is up, or a build or copy failed.
    """
    if image.stands_for:
        if _environment().get("provider") == "local":
            alias(push(build(image), local()), image.stands_for, local())
        return image.stands_for
    if cluster := _kind_cluster():
        return _load(
            f"pykaito/{image.name}:{image.tag}",
            image.containerfile,
            paths.ROOT,
            arguments={"TORCH": "cpu"} if "TORCH" in image.arguments else {},
            cluster=cluster,
        )
    return push(build(image), local())


def deliver_weights(folder: Path, name: str, *, private: bool = False) -> Delivered:
    """Pack a model's files and bring them to the nodes.

    Args:
        folder: The model, as transformers saves it.
        name: The image's name.
        private: Put it behind a login, where the cluster has such a registry.
    """
    if cluster := _kind_cluster():
        tag = content.digest([folder], relative_to=folder, salt=[])
        reference = f"pykaito/weights-{name}:{tag}"
        return Delivered(
            _load(reference, WEIGHTS, folder, arguments={}, cluster=cluster)
        )
    with_login = private and "authRegistryCredentials" in _environment()
    registry = protected() if with_login else local()
    reference = push(pack_weights(folder, name), registry)
    return Delivered(reference, registry if registry.username else None)


def deliver_adapter_files(folder: Path, name: str) -> str:
    """Pack an adapter's files, bring them to the nodes, return the reference.

    Args:
        folder: The adapter, as peft saves it.
        name: The image's name.
    """
    if cluster := _kind_cluster():
        tag = content.digest([folder], relative_to=folder, salt=[])
        reference = f"pykaito/adapter-{name}:{tag}"
        return _load(reference, ADAPTER, folder, arguments={}, cluster=cluster)
    return push(pack_adapter(folder, name), local())


def _load(
    reference: str,
    containerfile: Path,
    context: Path,
    *,
    arguments: dict[str, str],
    cluster: str,
) -> str:
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    with step(reference):
        build_options = ["--quiet", f"--file={containerfile}", f"--tag={reference}"]
        run(
            "docker",
            "build",
            *build_options,
            *options,
            context,
            timeout=_BUILD_TIMEOUT,
        )
        load = ("kind", "load", "docker-image", reference, f"--name={cluster}")
        run(*load, timeout=_LOAD_TIMEOUT)
    return reference


def _kind_cluster() -> str:
    return str(_environment().get("kindCluster") or "")


def _environment() -> dict[str, Any]:
    file = paths.CLUSTER / "env.json"
    if not file.exists():
        raise ClusterError(f"{file} is missing; run: make cluster")
    environment: dict[str, Any] = json.loads(file.read_text())
    return environment
