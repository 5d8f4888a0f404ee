"""Paths of server-side apply are read against the object they are of."""

import pytest

from pykaito.reconcilers.field_path import without_fields

DEPLOYMENT = {
    "metadata": {"labels": {"kaito.sh/workspace": "w", "app": "x"}},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "command": ["sh", "-c", "serve"],
                        "ports": [{"containerPort": 5000, "protocol": "TCP"}],
                    },
                    {"name": "other", "command": ["true"]},
                ]
            }
        },
        "finalizers": ["a", "b"],
    },
}


def test_a_field_of_a_named_list_item_is_left_out_and_its_siblings_stay() -> None:
    path = '.spec.template.spec.containers[name="server"].command'
    pruned = without_fields(DEPLOYMENT, [path])
    server, other = pruned["spec"]["template"]["spec"]["containers"]
    assert "command" not in server
    assert server["ports"] == [{"containerPort": 5000, "protocol": "TCP"}]
    assert other == {"name": "other", "command": ["true"]}


def test_a_key_that_holds_dots_and_slashes_is_found() -> None:
    pruned = without_fields(DEPLOYMENT, [".metadata.labels.kaito.sh/workspace"])
    assert pruned["metadata"]["labels"] == {"app": "x"}


def test_a_list_item_with_two_keys_is_found_by_both() -> None:
    path = (
        '.spec.template.spec.containers[name="server"]'
        '.ports[containerPort=5000,protocol="TCP"].protocol'
    )
    server = without_fields(DEPLOYMENT, [path])["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert server["ports"] == [{"containerPort": 5000}]


def test_an_item_of_a_set_is_found_by_its_value() -> None:
    assert without_fields(DEPLOYMENT, ['.spec.finalizers[="a"]'])["spec"][
        "finalizers"
    ] == ["b"]


def test_a_field_that_is_named_once_for_each_owner_is_left_out_once() -> None:
    path = ".metadata.labels.app"
    assert "app" not in without_fields(DEPLOYMENT, [path, path])["metadata"]["labels"]


def test_an_item_and_a_field_of_it_are_left_out_together() -> None:
    item = '.spec.template.spec.containers[name="server"]'
    pruned = without_fields(DEPLOYMENT, [item, f"{item}.command"])
    names = [c["name"] for c in pruned["spec"]["template"]["spec"]["containers"]]
    assert names == ["other"]


def test_the_given_object_is_not_changed() -> None:
    without_fields(DEPLOYMENT, [".metadata.labels.app"])
    assert DEPLOYMENT["metadata"]["labels"]["app"] == "x"


@pytest.mark.parametrize(
    "path",
    [
        ".spec.absent",
        '.spec.template.spec.containers[name="absent"].command',
        ".metadata.labels.kaito.sh/absent",
        ".spec[0]",
    ],
)
def test_a_field_that_is_not_there_is_named_in_the_error(path: str) -> None:
    with pytest.raises(LookupError, match="no field"):
        without_fields(DEPLOYMENT, [path])
