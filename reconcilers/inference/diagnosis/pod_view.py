"""A pod as a diagnosis looks at it: with its Workspace, at a moment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pykaito.operator.objects import Object, name, namespace
from pykaito.reconcilers.inference.loading import Report
from pykaito.reconcilers.inference.manifests.claims import mounted_claims

ContainerKind = Literal["initContainers", "containers"]
KINDS: Sequence[ContainerKind] = ("initContainers", "containers")


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container as the pod's spec has it, and where that is."""

    spec: Mapping[str, Any]
    kind: ContainerKind
    #: Its place in the list of its kind.
    index: int


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod, the Workspace it belongs to, and the time."""

    pod: Object
    workspace: Object
    now: datetime
    #: How far its model server says that it is, while it loads.
    report: Report | None = None
    #: For how long it has to be ready until its Deployment counts it.
    settling: timedelta = timedelta()

    @property
    def name(self) -> str:
        """The pod's name."""
        return name(self.pod)

    @property
    def namespace(self) -> str:
        """The namespace of both."""
        return namespace(self.pod)

    @property
    def kubectl(self) -> str:
        """How a command about the namespace begins."""
        return f"kubectl -n {self.namespace}"

    @property
    def node(self) -> str:
        """The node that the pod runs on, empty before it has one."""
        return str((self.pod.get("spec") or {}).get("nodeName") or "")

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the pod is to be."""
        found: Mapping[str, Any] = self.pod.get("spec") or {}
        return found

    @property
    def status(self) -> Mapping[str, Any]:
        """What the kubelet reports."""
        found: Mapping[str, Any] = self.pod.get("status") or {}
        return found

    @property
    def claims(self) -> list[str]:
        """The names of the PersistentVolumeClaims that the pod mounts."""
        return mounted_claims(self.spec)

    def condition(self, kind: str) -> Mapping[str, Any]:
        """Return a condition of the pod, an empty mapping if it has none such."""
        for found in self.status.get("conditions") or ():
            if found["type"] == kind:
                return dict(found)
        return {}

    def holds(self, kind: str) -> bool:
        """Whether a condition of the pod is True."""
        return self.condition(kind).get("status") == "True"

    def container_statuses(self) -> Iterator[Mapping[str, Any]]:
        """Yield the containers as the kubelet reports them, in the order they run."""
        for kind in ("initContainerStatuses", "containerStatuses"):
            yield from self.status.get(kind) or ()

    def container(self, named: str) -> ContainerSpec | None:
        """Return a container of the pod's spec by its name."""
        for kind in KINDS:
            for index, spec in enumerate(self.spec.get(kind) or ()):
                if spec["name"] == named:
                    return ContainerSpec(spec, kind, index)
        return None
