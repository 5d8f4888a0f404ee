"""Kubernetes objects as this operator handles them: raw JSON, never wrapped.

An object is the dictionary that the API server sent. Wrapping ten thousand Pods
in model classes costs seconds of processor time and a gigabyte of memory; reading
a few fields of a dictionary costs nothing. Whoever wants a typed view validates
the one object at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Object = Mapping[str, Any]
"""A Kubernetes object as parsed JSON. Read only: use `frozen.thaw` for a copy."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What the API server serves at one URL: a kind, and where it lives."""

    group: str
    """API group, empty for the core group."""
    version: str
    kind: str
    plural: str
    """Lower-case plural, the last part of the resource's URL."""
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects: `v1` or `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Resource("", "v1", "Node", "nodes", namespaced=False)
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
PODS = Resource("", "v1", "Pod", "pods")
SERVICES = Resource("", "v1", "Service", "services")
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
SECRETS = Resource("", "v1", "Secret", "secrets")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
JOBS = Resource("batch", "v1", "Job", "jobs")
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENTS = Resource("events.k8s.io", "v1", "Event", "events")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)


class Key(NamedTuple):
    """What names an object among those of its resource."""

    namespace: str
    """Empty for a cluster-scoped object."""
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects that a list request matched, at one resource version."""

    items: list[dict[str, Any]]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change that a watch reported.

    A BOOKMARK changes nothing; its object carries only the resource version up to
    which the watch has told everything.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: dict[str, Any]


def key(obj: Object) -> Key:
    """Return the key of `obj`; KeyError when it has no name."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def name(obj: Object) -> str:
    """Return `metadata.name`; KeyError when there is none."""
    return str(obj["metadata"]["name"])


def namespace(obj: Object) -> str:
    """Return `metadata.namespace`, empty for a cluster-scoped object."""
    return str(obj.get("metadata", {}).get("namespace", ""))


def uid(obj: Object) -> str:
    """Return `metadata.uid`, empty for an object that was never stored."""
    return str(obj.get("metadata", {}).get("uid", ""))


def resource_version(obj: Object) -> str:
    """Return `metadata.resourceVersion`, empty for one that was never stored."""
    return str(obj.get("metadata", {}).get("resourceVersion", ""))


def labels(obj: Object) -> Mapping[str, str]:
    """Return `metadata.labels`, an empty mapping when there are none."""
    return obj.get("metadata", {}).get("labels") or {}


def owner_of(obj: Object) -> Mapping[str, Any] | None:
    """Return the owner reference with `controller: true`, or None."""
    for reference in obj.get("metadata", {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def controller_reference(owner: Object) -> dict[str, Any]:
    """Return the owner reference that makes `owner` the controller of a child.

    The child is garbage-collected with its owner, and the owner's reconciler is
    told of the child's changes. KeyError when `owner` was never stored.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
