"""Why a container cannot be started, and what to do about it: pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pykaito.api import labels
from pykaito.api.conditions import InferenceReason
from pykaito.operator.objects import name
from pykaito.reconcilers.inference.diagnosis.fields import (
    claim_field,
    copied_instead,
    image_volumes,
    is_custom,
    preset_options,
    template_path,
)
from pykaito.reconcilers.inference.diagnosis.patience import (
    ATTACHING,
    HICCUP,
    MOUNTING,
    PATIENCE,
    could_start_since,
    restarts_in_vain,
    scheduled_at,
    waited,
)
from pykaito.reconcilers.inference.diagnosis.pod_view import ContainerSpec, PodView
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis, pending

#: What the kubelet calls its failures to start a container whose image it has.
REASONS = frozenset(
    {
        "CreateContainerConfigError",
        "PreCreateHookError",
        "CreateContainerError",
        "PreStartHookError",
        "RunContainerError",
        "PostStartHookError",
    }
)
#: What it calls the end of a container that never ran.
ENDINGS = frozenset({"StartError", "ContainerCannotRun"})

Kind = Literal["Secret", "ConfigMap"]
Mounted = Literal["Secret", "ConfigMap", "PersistentVolumeClaim", "folder"]

_MISSING = re.compile(r'(secret|configmap)s? "([^"]+)" not found')
_MISSING_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/]*/(\S+)")
#: What passes by itself, as on a node with much to do: the kubelet has not got what
#: the container takes its environment from, or the container runtime was too slow.
_PASSING = re.compile(
    r"failed to sync (secret|configmap) cache|object \S+ not registered|"
    r"services have not yet been read|is reserved for|deadline ?exceeded|timed out|"
    r"code = Unavailable|connection refused|connection reset",
    re.IGNORECASE,
)
#: What the container runtime puts before what went wrong.
_PREAMBLE = re.compile(r".*unable to start container process: ", re.DOTALL)
#: Kubernetes itself puts it into each, and lets pods mount it beside their token.
_OF_EVERY_NAMESPACE = "kube-root-ca.crt"
_KINDS: Mapping[str, Kind] = {"secret": "Secret", "configmap": "ConfigMap"}


def may_pass(container: Mapping[str, Any]) -> bool:
    """Whether a container cannot be started for a reason that may pass by itself."""
    found = (container.get("state") or {}).get("waiting") or {}
    reason, message = found.get("reason", ""), found.get("message", "")
    return reason in REASONS and _PASSING.search(message) is not None


def hold_up(view: PodView, container: Mapping[str, Any]) -> Diagnosis:
    """Return what holds up a start that may succeed by itself, or did not for long."""
    message = container["state"]["waiting"]["message"]
    late, look_again = waited(could_start_since(view), view.now, HICCUP)
    if not late:
        return pending(
            f"pod {view.name} is being set up on node {view.node}, which tries again "
            f"to start container {container['name']}: {message}",
            look_again,
        )
    return Diagnosis(
        InferenceReason.CONTAINER_START_ERROR,
        f"container {container['name']} of pod {view.name} cannot start: {message}. "
        f"It is tried again and again. See how node {view.node} is: kubectl describe "
        f"node {view.node}",
    )


def start_failure(view: PodView, container: Mapping[str, Any]) -> Diagnosis:
    """Return what is wrong with a container that cannot be started."""
    state = container.get("state") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    found = state.get("waiting") or state.get("terminated") or {}
    message = found.get("message", "")
    if found.get("reason") not in {*REASONS, *ENDINGS} or may_pass(container):
        message = last.get("message", "")
    spec = view.container(container["name"])
    told = f"container {container['name']} of pod {view.name} cannot start"
    if missing := _missing(view, message, spec):
        stalled, look_again = waited(could_start_since(view), view.now, PATIENCE)
        return Diagnosis(
            InferenceReason.CONTAINER_START_ERROR,
            f"{told}: {missing}",
            stalled=stalled,
            look_again=look_again,
        )
    why = _PREAMBLE.sub("", message).removesuffix(": unknown")
    why = why or found.get("reason", "")
    return Diagnosis(
        InferenceReason.CONTAINER_START_ERROR,
        f"{told}: {why}. {_remedy(view, spec, why)}",
        stalled=restarts_in_vain(container),
    )


def mount_failure(view: PodView) -> Diagnosis | None:
    """Return what a pod mounts if it has waited for that for too long.

    The kubelet says which one is missing in Events alone. ConfigMaps, Secrets and
    folders of the node that are there are mounted at once, claims are not.
    """
    mounted = sorted(set(_mounted(view.spec)))
    if not mounted:
        return None
    claims = any(kind == "PersistentVolumeClaim" for kind, _ in mounted)
    patience = ATTACHING if claims else MOUNTING
    late, look_again = waited(scheduled_at(view), view.now, patience)
    if not late:
        told = f"pod {view.name} is being set up on node {view.node}"
        return Diagnosis(
            InferenceReason.PENDING, told, progressing=True, look_again=look_again
        )
    stalled, look_again = waited(scheduled_at(view), view.now, PATIENCE)
    return Diagnosis(
        InferenceReason.CONTAINER_START_ERROR,
        _unmounted(view, mounted),
        stalled=stalled,
        look_again=look_again,
    )


def _unmounted(view: PodView, mounted: Sequence[tuple[Mounted, str]]) -> str:
    """Return what a pod waits for, and how to bring it."""
    folders = [named for kind, named in mounted if kind == "folder"]
    if len(folders) == len(mounted) == 1:
        return (
            f"pod {view.name} cannot be set up: node {view.node} has no folder "
            f"{folders[0]}{_named_by(view, 'folder', folders[0])}. Make it there, with "
            "the files that belong into it: the pod starts by itself then"
        )
    names = ", ".join(f"{k} {named}{_named_by(view, k, named)}" for k, named in mounted)
    targets = [f"{k.lower()}/{named}" for k, named in mounted if k != "folder"]
    listed = f": {view.kubectl} get {' '.join(targets)}" if targets else ""
    also = f", or on node {view.node}" if folders else ""
    return (
        f"pod {view.name} waits on node {view.node} for what it mounts: {names}. "
        f"Create what is missing in namespace {view.namespace}{also}, with the keys or "
        f"files that the pod mounts{listed}; which one it is: {view.kubectl} describe "
        f"pod {view.name}"
    )


def _missing(view: PodView, message: str, container: ContainerSpec | None) -> str:
    """Return which object or key is missing and how to bring it, else nothing."""
    if found := _MISSING_KEY.search(message):
        key, kind, named = found.groups()
        field = "stringData" if kind == "Secret" else "data"
        return (
            f"{kind} {named}{_named_by(view, kind, named)} has no key {key} in "
            f"namespace {view.namespace}. Add it: {view.kubectl} patch {kind.lower()} "
            f'{named} -p \'{{"{field}":{{"{key}":"VALUE"}}}}\''
        )
    if found := _MISSING.search(message):
        kind, named = _KINDS[found[1]], found[2]
        literals = " ".join(
            f"--from-literal={key}=VALUE"
            for key in sorted(set(_keys(container, kind, named))) or ["KEY"]
        )
        create = "secret generic" if kind == "Secret" else "configmap"
        return (
            f"{kind} {named}{_named_by(view, kind, named)} does not exist in namespace "
            f"{view.namespace}. Create it: {view.kubectl} create {create} {named} "
            f"{literals}"
        )
    return ""


def _named_by(view: PodView, kind: str, named: str) -> str:
    if kind == "folder" and not is_custom(view):
        return f" (annotation {labels.USE_LOCAL_WEIGHTS})"
    if kind == "PersistentVolumeClaim" and (field := claim_field(view, named)):
        return f" ({field})"
    if kind == "Secret" and preset_options(view).get("modelAccessSecret") == named:
        return " (inference.preset.presetOptions.modelAccessSecret)"
    return ""


def _keys(container: ContainerSpec | None, kind: Kind, named: str) -> Iterator[str]:
    """Yield the keys of an object that a container's environment takes."""
    reference = "secretKeyRef" if kind == "Secret" else "configMapKeyRef"
    for variable in (container.spec.get("env") or ()) if container else ():
        source = (variable.get("valueFrom") or {}).get(reference) or {}
        if source.get("name") == named:
            yield str(source["key"])


def _mounted(spec: Mapping[str, Any]) -> Iterator[tuple[Mounted, str]]:
    """Yield what a pod cannot do without and may be missing."""
    for volume in spec.get("volumes") or ():
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield "PersistentVolumeClaim", str(claim)
        host = volume.get("hostPath") or {}
        if host.get("type") == "Directory":
            yield "folder", str(host["path"])
        parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for part in parts:
            config_map, secret = part.get("configMap") or {}, part.get("secret") or {}
            named = secret.get("secretName") or secret.get("name")
            if config_map.get("name") not in {
                None,
                _OF_EVERY_NAMESPACE,
            } and not config_map.get("optional"):
                yield "ConfigMap", str(config_map["name"])
            if named and not secret.get("optional"):
                yield "Secret", str(named)


def _remedy(view: PodView, container: ContainerSpec | None, why: str) -> str:
    if container is not None and is_custom(view):
        return f"Correct {template_path(container)}"
    written = view.workspace["metadata"].get("annotations") or {}
    if "subPath" in why and (claim := written.get(labels.WEIGHTS_CLAIM)):
        return (
            f"See that claim and folder of the annotation {labels.WEIGHTS_CLAIM}, "
            f"{claim}, hold the weights"
        )
    if container is not None and (mounted := list(image_volumes(view))):
        return (
            f"If node {view.node} cannot mount images (containerd from 2.1 and CRI-O "
            f"from 1.31 can), {copied_instead(view.workspace, mounted[0])}"
        )
    return (
        "If the Deployment was edited by hand, this brings it back as the preset has "
        f"it: {view.kubectl} delete deployment {name(view.workspace)}"
    )
