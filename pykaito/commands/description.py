"""A plan in words for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pykaito.api.v1beta1.workspace import Workspace
from pykaito.commands.check import Checked
from pykaito.commands.models import tokens
from pykaito.runtime.presets.breakdown import MemoryBreakdown
from pykaito.runtime.presets.plan import ModelServer, Plan
from pykaito.runtime.presets.runtimes import Runtime
from pykaito.runtime.presets.weights import FromClaim, FromHub, FromImage, FromNode

_GIB = 2**30

Line = tuple[str, str]


def describe(
    checked: Checked,
    made: Sequence[Mapping[str, Any]],
    images: Mapping[Runtime, str],
) -> str:
    """Return a plan as lines of names and values.

    Args:
        checked: the Workspace and its plan.
        made: its Machines whose nodes would be made.
        images: of the model servers of presets, by runtime.
    """
    workspace, planned = checked.workspace, checked.plan
    metadata, resource = workspace.metadata, workspace.resource
    selector = resource.label_selector.as_labels()
    lines: list[Line] = [
        *_served(workspace, planned.server),
        ("nodes", f"{planned.nodes}, one replica on each"),
        ("of type", resource.instance_type or "any"),
        ("labels", ",".join(f"{k}={v}" for k, v in sorted(selector.items())) or "any"),
        ("preferred", ", ".join(resource.preferred_nodes) or "none"),
        *_made(made),
        _taken(planned),
    ]
    if planned.server:
        lines += _memory(planned.server, planned.memory)
        lines += _pod(workspace, planned.server, images[planned.server.runtime])
    lines += (("warning", warning) for warning in checked.warnings)
    width = max(len(name) for name, _ in lines) + 2
    body = "".join(f"  {name.ljust(width)}{value}\n" for name, value in lines)
    return f"{metadata.namespace}/{metadata.name}\n{body}"


def _served(workspace: Workspace, server: ModelServer | None) -> Iterator[Line]:
    address = f"http://{workspace.metadata.name}.{workspace.metadata.namespace}.svc"
    if server is None:
        yield "served", f"by the Workspace's own pod template, at {address}"
        return
    preset = server.preset
    context = tokens(server.context_length)
    yield "model", f"{preset.name} ({preset.licence}), {context} tokens of context"
    yield "served as", f"{server.served_model_name} at {address}"


def _made(machines: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Yield what is asked of a provisioner, which of all Machines is the same."""
    if not machines:
        return
    spec = machines[0]["spec"]
    names = ", ".join(machine["metadata"]["name"] for machine in machines)
    yield "made", f"{names} by {spec['provisioner']}, {spec['capacityType']}"
    yield "  disk", spec["storage"]
    taints = (f"{t['key']}={t['value']}:{t['effect']}" for t in spec["taints"])
    yield "  taints", ", ".join(taints) or "none"
    yield "  zones", ", ".join(spec.get("zones", ())) or "any"
    for field, words in (("imageFamily", "image"), ("nodeClass", "class")):
        if found := spec.get(field):
            yield f"  {words}", found


def _taken(planned: Plan) -> Line:
    if planned.gpus_per_node:
        return "GPUs", f"{planned.gpus_per_node} per node"
    taken = (f"{amount} {name}" for name, amount in planned.node_resources.items())
    return "takes", f"{', '.join(taken) or 'nothing in particular'} of each node"


def _memory(server: ModelServer, memory: MemoryBreakdown | None) -> Iterator[Line]:
    if memory is None:
        yield "memory", "not known, as nothing is of the nodes' GPUs"
        return
    whose = "each GPU" if memory.of == "GPU" else "the node's RAM"
    share = f" of {_gib(memory.capacity)} ({memory.percent}%)" * bool(memory.capacity)
    yield "memory", f"{_gib(memory.total)}{share} of {whose}"
    yield "  weights", _gib(memory.weights)
    yield "  cache", f"{_gib(memory.cache)} for {tokens(server.context_length)} tokens"
    yield "  reserve", f"{_gib(memory.reserve)} for activations and kernels"


def _pod(workspace: Workspace, server: ModelServer, image: str) -> Iterator[Line]:
    yield "disk", f"{server.preset.disk_gib}Gi"
    yield "runtime", server.runtime
    yield "image", image
    yield "weights", _weights(server)
    if server.cache_claim:
        yield "cache kept", f"on the PersistentVolumeClaim {server.cache_claim}"
    inference = workspace.inference
    for adapter in inference.adapters if inference else ():
        source = adapter.source
        where = f"the image {source.image}" if source.image else "a volume"
        yield "adapter", f"{source.name} from {where}, strength {adapter.strength or 1}"
    if inference and inference.config:
        yield "settings", f"of the ConfigMap {inference.config}"


def _weights(server: ModelServer) -> str:
    match server.weights:
        case FromImage(image=image, mounted=mounted):
            return f"{'mounted' if mounted else 'copied'} from the image {image}"
        case FromNode(folder=folder):
            return f"mounted from the node's folder {folder}"
        case FromClaim(claim=claim, folder=folder):
            inside = f"folder {folder} of " if folder else ""
            return f"mounted from {inside}the PersistentVolumeClaim {claim}"
        case FromHub():
            commit = f" at {server.revision[:12]}" if server.revision else ""
            return f"downloaded from the hub, {server.preset.hub}{commit}"


def _gib(amount: int | None) -> str:
    return f"{(amount or 0) / _GIB:.2f}Gi"
