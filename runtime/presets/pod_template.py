"""A pod template that users bring: what it must have, and what it takes of a node."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pykaito.api.quantity import parse_quantity
from pykaito.runtime.presets.gpu import is_accelerator
from pykaito.runtime.presets.image_reference import image_doubt

FIELD = "inference.template"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

#: Fields inside each other; a pod has about ten. The CRD takes any number, and
#: deeper ones could neither be read nor written.
DEEPEST = 32

Amounts = dict[str, Decimal]


class InvalidTemplateError(ValueError):
    """It is no pod template; the message has path, what was found, what is right."""

    def __init__(self, path: str, found: Any, remedy: str) -> None:
        super().__init__(f"{path}: found {_word(found)}; {remedy}")


def check_template(template: Mapping[str, Any]) -> None:
    """Check what the API server needs of a pod template, and what we read of it.

    Raises:
        InvalidTemplateError: it is no pod template.
    """
    for part in template:
        if part not in {"metadata", "spec"}:
            raise InvalidTemplateError(
                f"{FIELD}.{part}",
                template[part],
                "a pod template has metadata and spec alone, as in a Deployment",
            )
    if _is_deeper(template, DEEPEST):
        raise InvalidTemplateError(
            FIELD, template, f"nest no field deeper than {DEEPEST}, as no pod does"
        )
    metadata = _mapping(template.get("metadata") or {}, f"{FIELD}.metadata")
    _mapping(metadata.get("labels") or {}, f"{FIELD}.metadata.labels")
    spec = _mapping(template.get("spec"), f"{FIELD}.spec")
    if not _containers(spec, "containers"):
        raise InvalidTemplateError(
            f"{FIELD}.spec.containers",
            spec.get("containers"),
            "list the container of the model server, with name and image",
        )
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(_containers(spec, kind)):
            _check_container(container, f"{FIELD}.spec.{kind}[{number}]")
    _list(spec.get("tolerations"), f"{FIELD}.spec.tolerations")
    _check_affinity(spec.get("affinity"), f"{FIELD}.spec.affinity")


def accelerators_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the accelerators that a checked template's pod takes of its node.

    It is the sum that the scheduler makes: containers run together, and sidecars
    beside them; an init container runs alone, beside the sidecars before it.
    """
    spec = template["spec"]
    together: Amounts = defaultdict(Decimal)
    peak: Amounts = defaultdict(Decimal)
    for container in _containers(spec, "initContainers"):
        requests = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(together, requests)
            requests = {}
        for resource in {*together, *requests}:
            alone = together[resource] + requests.get(resource, Decimal())
            peak[resource] = max(peak[resource], alone)
    for container in _containers(spec, "containers"):
        _add(together, _requests(container))
    return {
        resource: str(int(amount))
        for resource in sorted({*together, *peak})
        if (amount := max(together[resource], peak[resource]))
    }


def template_doubts(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is legal in a checked template and likely not meant."""
    if node := template["spec"].get("nodeName"):
        yield (
            f"{FIELD}.spec.nodeName: found {_word(node)}; it goes past the scheduler, "
            "and on a node that is not the Workspace's pods fail and are made anew "
            "without end; name the node in resource.preferredNodes"
        )
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(_containers(template["spec"], kind)):
            path = f"{FIELD}.spec.{kind}[{number}].image"
            if doubt := image_doubt(path, container["image"]):
                yield doubt


def _check_container(container: Any, path: str) -> None:
    _mapping(container, path)
    for field, example in (("name", "server"), ("image", "registry/name:tag")):
        found = container.get(field)
        if not isinstance(found, str) or not found:
            raise InvalidTemplateError(
                f"{path}.{field}", found, f"write a text, such as {example}"
            )
    resources = _mapping(container.get("resources") or {}, f"{path}.resources")
    for kind in ("requests", "limits"):
        where = f"{path}.resources.{kind}"
        for resource, amount in _mapping(resources.get(kind) or {}, where).items():
            _check_amount(str(resource), amount, f"{where}[{resource}]")


def _check_affinity(affinity: Any, path: str) -> None:
    """Check what is combined with the nodes of a Workspace."""
    for field in ("nodeAffinity", REQUIRED, "nodeSelectorTerms"):
        affinity = _mapping({} if affinity is None else affinity, path).get(field)
        path = f"{path}.{field}"
    for number, term in enumerate(_list(affinity, path)):
        where = f"{path}[{number}]"
        _list(_mapping(term, where).get("matchFields"), f"{where}.matchFields")


def _check_amount(resource: str, amount: Any, path: str) -> None:
    whole = is_accelerator(resource)
    try:
        number = parse_quantity(amount)
    except ValueError as error:
        raise InvalidTemplateError(path, amount, str(error)) from None
    if number < 0 or (whole and number % 1):
        right = "a whole number" if whole else "a number from 0"
        raise InvalidTemplateError(path, amount, f"write {right}")


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether more containers are inside each other than so many."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, Mapping | list | tuple)
        ]
    return bool(layer)


def _requests(container: Mapping[str, Any]) -> Amounts:
    """Return the accelerators that a container requests; a limit is a request."""
    resources = container.get("resources") or {}
    found = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {
        resource: parse_quantity(amount)
        for resource, amount in found.items()
        if is_accelerator(str(resource))
    }


def _add(amounts: Amounts, more: Amounts) -> None:
    for resource, amount in more.items():
        amounts[resource] += amount


def _containers(spec: Mapping[str, Any], kind: str) -> Sequence[Any]:
    return _list(spec.get(kind), f"{FIELD}.spec.{kind}")


def _list(value: Any, path: str) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    raise InvalidTemplateError(path, value, "write a list")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise InvalidTemplateError(path, value, "write a mapping of fields, as in a pod")


def _word(found: Any) -> str:
    """Name a value in a few words, so that no message carries a whole template."""
    if found is None:
        return "none"
    if isinstance(found, Mapping | list | tuple):
        return f"a {'mapping' if isinstance(found, Mapping) else 'list'}"
    return repr(str(found)[:80])
