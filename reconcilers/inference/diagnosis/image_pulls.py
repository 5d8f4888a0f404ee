"""Why an image cannot be pulled, and what to do about it: pure."""

import re
from collections.abc import Mapping
from typing import Any

from pykaito.api.conditions import InferenceReason, WorkspaceCondition
from pykaito.reconcilers.inference.diagnosis.fields import (
    ImageField,
    image_field,
    image_volumes,
    runtime,
)
from pykaito.reconcilers.inference.diagnosis.patience import (
    PATIENCE,
    could_start_since,
    waited,
)
from pykaito.reconcilers.inference.diagnosis.pod_view import PodView
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis

#: What the kubelet calls its failures to pull.
REASONS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
#: Trying again changes nothing: the name is no name, or nobody may pull.
HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})

#: What kubelet and container runtime put before the registry's own words.
_PREAMBLE = re.compile(
    r'Back-off pulling image "[^"]*"(: ErrImagePull)?(: |$)|'
    r"rpc error: code = \w+ desc = |"
    r'failed to pull and unpack image "[^"]*": |'
    r'failed to resolve reference "[^"]*": |'
    r'Failed to apply default image tag "[^"]*": |'
    r"failed to do request: "
)
_LIMITED = re.compile(r"toomanyrequests|too many requests|rate limit", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|timeout|connection refused|no route to host|"
    r"deadline exceeded|x509|tls|https client|\bEOF\b|\b50[0234]\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"unauthori|forbidden|denied|authori[sz]ation|authentication|no basic auth",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(r"not found|manifest unknown|name unknown", re.IGNORECASE)
_DISK_FULL = re.compile(r"no space left", re.IGNORECASE)
_OTHER_MACHINE = re.compile(r"no match for platform|exec format", re.IGNORECASE)

DOCKER_HUB = "docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"


def pull_failure(view: PodView, container: Mapping[str, Any]) -> Diagnosis:
    """Return what is wrong with a container whose image is not there."""
    waiting = container["state"]["waiting"]
    named = container["name"]
    spec = view.container(named)
    message = waiting.get("message", "")
    image = str((spec.spec if spec else container).get("image", ""))
    field = image_field(view, spec)
    if image not in message:
        # The kubelet tells likewise of the image of a volume that the container mounts.
        volumes = image_volumes(view).items()
        of_volume = ((i, f) for i, f in volumes if i in message)
        image, field = next(of_volume, (image, field))
    where = f" ({field.path})" if field.path else ""
    told = f"pod {view.name} cannot pull {image}{where} for container {named}"
    answer = _answer(message, image) or _answered(view, told) or waiting["reason"]
    stalled, look_again = waiting["reason"] in HOPELESS, None
    if not stalled and _is_definite(answer):
        stalled, look_again = waited(could_start_since(view), view.now, PATIENCE)
    return Diagnosis(
        InferenceReason.IMAGE_PULL_ERROR,
        f"{told}: {answer}. {_remedy(view, waiting['reason'], answer, image, field)}",
        stalled=stalled,
        look_again=look_again,
    )


def _answer(message: str, image: str) -> str:
    """Return what the registry said, without what was said on its way here."""
    rest = _PREAMBLE.sub("", message.strip())
    return rest.replace(f"{image}: ", "").strip().rstrip(".")


def _answered(view: PodView, told: str) -> str:
    """Return what the registry said before, as the Workspace tells of it.

    Kubelets before 1.32 say it as they fail, and then for minutes that they back off.
    """
    for condition in (view.workspace.get("status") or {}).get("conditions") or ():
        if condition["type"] == WorkspaceCondition.INFERENCE_READY:
            _, _, rest = str(condition.get("message", "")).partition(f"{told}: ")
            return rest.partition(". ")[0]
    return ""


def _is_definite(answer: str) -> bool:
    """Whether the registry answered, so that only a person can change the answer."""
    if _LIMITED.search(answer) or _UNREACHABLE.search(answer):
        return False
    return bool(_DENIED.search(answer) or _NOT_FOUND.search(answer))


def _remedy(
    view: PodView, reason: str, answer: str, image: str, field: ImageField
) -> str:
    registry = registry_of(image)
    if reason == "InvalidImageName":
        return _correct(
            view, field, "an image name such as registry.example.com/model:1"
        )
    if reason == "ErrImageNeverPull":
        return (
            f"Load the image into node {view.node}, or allow to pull it: "
            "imagePullPolicy: IfNotPresent"
        )
    if _LIMITED.search(answer):
        return f"{registry} limits pulls: wait, or {_log_in(view, registry, field)}"
    if _UNREACHABLE.search(answer):
        return (
            f"Check that {registry} is the right registry and that node {view.node} "
            "reaches it"
        )
    if _DENIED.search(answer):
        login = _log_in(view, registry, field)
        return login[0].upper() + login[1:]
    if _NOT_FOUND.search(answer):
        return f"Push the image, or {_lower(_correct(view, field, 'one that exists'))}"
    if _DISK_FULL.search(answer):
        return f"Free disk space on node {view.node}, or use a node with more of it"
    if _OTHER_MACHINE.search(answer):
        return f"Build the image for the architecture of node {view.node}"
    return f"More is in the Events: {view.kubectl} describe pod {view.name}"


def _correct(view: PodView, field: ImageField, right: str) -> str:
    """Ask to name another image, where that can be done."""
    if not field.path:
        return (
            "Correct the operator's own setting, Helm value "
            f"runtimes.{runtime(view)}.image, to {right}"
        )
    if field.fixed:
        return (
            "Delete the Workspace, since its preset cannot be changed, and apply it "
            f"with {right} in {field.path}"
        )
    return f"Set {field.path} to {right}"


def _log_in(view: PodView, registry: str, field: ImageField) -> str:
    server = _HUB_LOGIN if registry == DOCKER_HUB else registry
    named = [secret["name"] for secret in view.spec.get("imagePullSecrets") or ()]
    create = (
        f"{view.kubectl} create secret docker-registry {named[0] if named else 'NAME'} "
        f"--docker-server={server} --docker-username=USER --docker-password=PASSWORD"
    )
    if named:
        return (
            f"make sure that Secret {' or '.join(named)} in namespace "
            f"{view.namespace} holds a login for {registry}: {create}"
        )
    if not field.path:
        return (
            f"set Helm value runtimes.{runtime(view)}.image to an image that every "
            "node may pull"
        )
    again = " of the Workspace when you apply it anew" if field.fixed else ""
    return (
        f"name a Secret with a login for {registry} in {field.pull_secrets}{again}: "
        f"{create}"
    )


def registry_of(image: str) -> str:
    """Return the host that an image's name is looked up at."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return DOCKER_HUB


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
