"""Who put another source, probe or value in place of ours keeps it."""

from typing import Any

import pytest

from pykaito.reconcilers.alternatives import replaced
from pykaito.reconcilers.field_path import without_fields

CLAIM = {"persistentVolumeClaim": {"claimName": "mine"}}
HTTP = {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 5}
EXEC = {"exec": {"command": ["check"]}, "periodSeconds": 5}
SECRET = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def deployment(
    *, volume: Any = None, managed: Any = None, **container: Any
) -> dict[str, Any]:
    spec = {
        "containers": [{"name": "a.b", **container}],
        "volumes": [{"name": "v", **(volume or {"emptyDir": {}})}],
    }
    metadata = {"managedFields": managed} if managed else {}
    return {"metadata": metadata, "spec": {"template": {"spec": spec}}}


def owned(manager: str, *steps: str) -> dict[str, Any]:
    """Return an entry of managedFields with one field in it."""
    fields: dict[str, Any] = {}
    for step in reversed(("f:spec", "f:template", "f:spec", *steps)):
        fields = {step: fields}
    return {"manager": manager, "fieldsV1": fields}


CONTAINER = ("f:containers", 'k:{"name":"a.b"}')
OF_VOLUME = ("f:volumes", 'k:{"name":"v"}', "f:persistentVolumeClaim")
OF_PROBE = (*CONTAINER, "f:livenessProbe", "f:exec")
OF_HOOK = (*CONTAINER, "f:lifecycle", "f:preStop", "f:sleep")
OF_VARIABLE = (*CONTAINER, "f:env", 'k:{"name":"A"}', "f:valueFrom")
SPEC = ".spec.template.spec"


@pytest.mark.parametrize(
    ("wanted", "live", "steps", "path"),
    [
        ({}, {"volume": CLAIM}, OF_VOLUME, '.volumes[name="v"].emptyDir'),
        (
            {"livenessProbe": HTTP},
            {"livenessProbe": EXEC},
            OF_PROBE,
            '.containers[name="a.b"].livenessProbe.httpGet',
        ),
        (
            {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}},
            {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
            OF_HOOK,
            '.containers[name="a.b"].lifecycle.preStop.exec',
        ),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", **SECRET}]},
            OF_VARIABLE,
            '.containers[name="a.b"].env[name="A"].value',
        ),
    ],
    ids=["volume", "probe", "hook", "variable"],
)
def test_what_stands_in_place_of_ours_is_left_to_who_put_it_there(
    wanted: Any, live: Any, steps: tuple[str, ...], path: str
) -> None:
    ours = deployment(**wanted)
    theirs = deployment(**live, managed=[owned("kubectl-edit", *steps)])
    (conflict,) = replaced(ours, theirs, "pykaito")
    assert (conflict.field, conflict.manager) == (f"{SPEC}{path}", "kubectl-edit")
    assert replaced(without_fields(ours, [conflict.field]), theirs, "pykaito") == ()


def test_what_we_put_there_ourselves_we_change() -> None:
    ours = deployment()
    theirs = deployment(volume=CLAIM, managed=[owned("pykaito", *OF_VOLUME)])
    assert replaced(ours, theirs, "pykaito") == ()


def test_what_stands_beside_ours_or_is_gone_is_put_in_order() -> None:
    ours = deployment(livenessProbe=HTTP, env=[{"name": "A", "value": "1"}])
    assert replaced(ours, deployment(livenessProbe=HTTP | EXEC), "pykaito") == ()
    assert replaced(ours, deployment(env=[{"name": "A"}]), "pykaito") == ()


@pytest.mark.parametrize("volumes", ["x", ["x"], [{"name": ["v"]}], [{}], None])
def test_what_is_no_list_of_volumes_is_left_to_the_api_server_to_refuse(
    volumes: Any,
) -> None:
    ours = deployment(livenessProbe="x", lifecycle=["x"], env="x")
    ours["spec"]["template"]["spec"]["volumes"] = volumes
    assert replaced(ours, deployment(volume=CLAIM), "pykaito") == ()
