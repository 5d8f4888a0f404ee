"""The operator's rights: exactly what it uses, and nothing else."""

from typing import Any

from pykaito.reconcilers.assembly import LEASE

FOLLOW = {"list", "watch"}

CLUSTER = {
    ("kaito.sh", "workspaces"): FOLLOW | {"patch"},
    ("kaito.sh", "workspaces/status"): {"patch"},
    ("kaito.sh", "workspaces/finalizers"): {"update"},
    ("kaito.sh", "machines"): FOLLOW | {"get", "create", "patch", "delete"},
    ("kaito.sh", "machines/status"): {"patch"},
    ("", "nodes"): FOLLOW,
    ("", "pods"): FOLLOW,
    ("", "namespaces"): {"get"},
    ("", "configmaps"): FOLLOW | {"get", "create", "patch", "delete"},
    ("", "services"): FOLLOW | {"get", "create", "patch"},
    ("apps", "deployments"): FOLLOW | {"get", "create", "patch"},
    ("events.k8s.io", "events"): {"list", "create", "patch"},
    ("karpenter.sh", "nodeclaims"): FOLLOW | {"get", "create", "delete"},
    ("karpenter.sh", "nodepools"): FOLLOW | {"get", "create", "delete"},
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): FOLLOW
    | {"patch"},
}
NAMESPACED = {
    ("coordination.k8s.io", "leases"): {"get", "create", "update"},
    ("", "secrets"): {"get", "create", "update"},
}


def granted(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    verbs: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((group, resource), set()).update(rule["verbs"])
    return verbs


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (obj for obj in objects if obj["kind"] == kind)
    return found


def test_the_operator_may_do_what_it_does_and_no_more(render: Any) -> None:
    assert granted(only(render(), "ClusterRole")) == CLUSTER
    assert granted(only(render(), "Role")) == NAMESPACED


def test_of_namespaces_it_may_read_the_one_that_names_the_cluster(render: Any) -> None:
    of_namespaces = [
        rule.get("resourceNames")
        for rule in only(render(), "ClusterRole")["rules"]
        if "namespaces" in rule["resources"]
    ]
    assert of_namespaces == [["kube-system"]]


def test_the_lease_is_a_right_in_the_releases_namespace_alone(render: Any) -> None:
    assert only(render(), "Role")["metadata"]["namespace"] == "pykaito-system"


def test_of_leases_it_may_take_its_own_alone(render: Any) -> None:
    """Other operators in that namespace have theirs."""
    of_leases = [
        (rule.get("resourceNames"), rule["verbs"])
        for rule in only(render(), "Role")["rules"]
        if "leases" in rule["resources"]
    ]
    assert of_leases == [([LEASE], ["get", "update"]), (None, ["create"])]


def test_of_secrets_it_may_read_its_own_certificates_alone(render: Any) -> None:
    of_secrets = [
        (rule.get("resourceNames"), rule["verbs"])
        for rule in only(render(), "Role")["rules"]
        if "secrets" in rule["resources"]
    ]
    assert of_secrets == [
        (["pykaito-webhook-tls"], ["get", "update"]),
        (None, ["create"]),
    ]
    assert ("", "secrets") not in granted(only(render(), "ClusterRole"))


def test_it_may_touch_its_own_webhook_configuration_alone(render: Any) -> None:
    names = [
        rule["resourceNames"]
        for rule in only(render(), "ClusterRole")["rules"]
        if "validatingwebhookconfigurations" in rule["resources"]
    ]
    assert names == [["pykaito-webhook"]]


def test_without_the_webhook_it_needs_neither(render: Any) -> None:
    objects = render("webhook.enabled=false")
    assert ("", "secrets") not in granted(only(objects, "Role"))
    assert ("admissionregistration.k8s.io", "validatingwebhookconfigurations") not in (
        granted(only(objects, "ClusterRole"))
    )


def test_the_rights_go_to_the_account_of_the_pod(render: Any) -> None:
    objects = render("serviceAccount.name=gpu-operator")
    account = only(objects, "ServiceAccount")["metadata"]
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert account["name"] == pod["serviceAccountName"] == "gpu-operator"
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert only(objects, kind)["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": "gpu-operator",
                "namespace": "pykaito-system",
            }
        ]


def test_without_rbac_no_right_is_granted(render: Any) -> None:
    kinds = {obj["kind"] for obj in render("rbac.create=false")}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
