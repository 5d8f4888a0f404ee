"""The webhook, as the chart tells the API server and the operator of it."""

from typing import Any

import yaml

from hack import paths
from pykaito.operator.certificate_rotator import WebhookService
from pykaito.reconcilers.admission import PATH
from pykaito.reconcilers.resources import WORKSPACES

CRD = paths.ROOT / "manifests" / "crds" / "kaito.sh_workspaces.yaml"


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (
        obj
        for obj in objects
        if obj["kind"] == kind and name in {"", obj["metadata"]["name"]}
    )
    return found


def webhook(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = only(objects, "ValidatingWebhookConfiguration")["webhooks"]
    webhook: dict[str, Any] = found
    return webhook


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    found: dict[str, Any] = spec["containers"][0]
    return found


def test_the_api_server_calls_what_the_operator_serves(render: Any) -> None:
    objects = render("webhook.port=10250")
    called = webhook(objects)["clientConfig"]["service"]
    assert called["path"] == PATH
    service = only(objects, "Service", called["name"])
    (port,) = service["spec"]["ports"]
    assert port["port"] == called["port"]
    ports = {p["name"]: p["containerPort"] for p in container(objects)["ports"]}
    assert ports[port["targetPort"]] == 10250
    assert "--webhook-port=10250" in container(objects)["args"]
    assert f"--webhook-service={called['name']}" in container(objects)["args"]


def test_names_are_those_that_the_operator_derives(render: Any) -> None:
    objects = render("fullnameOverride=models")
    called = webhook(objects)["clientConfig"]["service"]
    service = WebhookService(namespace=called["namespace"], name=called["name"])
    configuration = only(objects, "ValidatingWebhookConfiguration")
    assert configuration["metadata"]["name"] == service.configuration
    of_secrets = [
        rule["resourceNames"][0]
        for rule in only(objects, "Role")["rules"]
        if "secrets" in rule["resources"] and "resourceNames" in rule
    ]
    assert of_secrets == [service.secret]


def test_a_long_release_name_leaves_room_for_what_is_derived(render: Any) -> None:
    objects = render(f"fullnameOverride={'a' * 63}")
    called = webhook(objects)["clientConfig"]["service"]
    assert len(f"{called['name']}-tls") <= 63


def test_workspaces_of_both_versions_are_asked_about_and_nothing_else(
    render: Any,
) -> None:
    (rule,) = webhook(render())["rules"]
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    assert set(rule["apiVersions"]) == {version["name"] for version in versions}
    assert rule["apiGroups"] == [WORKSPACES.group]
    assert rule["resources"] == [WORKSPACES.plural]
    assert rule["operations"] == ["CREATE", "UPDATE"]


def test_it_never_stands_in_the_way_unless_told_to(render: Any) -> None:
    found = webhook(render())
    assert found["failurePolicy"] == "Ignore"
    assert found["timeoutSeconds"] == 5
    assert found["sideEffects"] == "None"
    assert found["matchPolicy"] == "Equivalent"
    told = webhook(render("webhook.failurePolicy=Fail", "webhook.timeoutSeconds=9"))
    assert (told["failurePolicy"], told["timeoutSeconds"]) == ("Fail", 9)


def test_the_operators_own_writes_are_not_asked_about(render: Any) -> None:
    (condition,) = webhook(render("serviceAccount.name=gpu"))["matchConditions"]
    assert condition["expression"] == (
        "request.userInfo.username != 'system:serviceaccount:pykaito-system:gpu'"
    )


def test_the_ca_bundle_is_left_to_the_operator(render: Any) -> None:
    assert "caBundle" not in webhook(render())["clientConfig"]


def test_a_network_policy_lets_the_api_server_in(render: Any) -> None:
    policy = only(render("networkPolicy.enabled=true"), "NetworkPolicy")
    (rule,) = policy["spec"]["ingress"]
    assert {"port": "webhook"} in rule["ports"]


def test_it_can_be_left_out(render: Any) -> None:
    objects = render("webhook.enabled=false", "networkPolicy.enabled=true")
    kinds = [obj["kind"] for obj in objects]
    assert "ValidatingWebhookConfiguration" not in kinds
    assert kinds.count("Service") == 1
    assert not [a for a in container(objects)["args"] if "webhook" in a]
    assert [port["name"] for port in container(objects)["ports"]] == [
        "metrics",
        "health",
    ]
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert {"port": "webhook"} not in rule["ports"]
