import copy
import json
from typing import Any

import orjson
import pytest

from pykaito.operator import objects
from pykaito.operator.frozen import FrozenDict, FrozenList, freeze, thaw

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "a",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"app": "x"},
        "ownerReferences": [
            {"kind": "Other", "uid": "o"},
            {"kind": "ReplicaSet", "uid": "r", "controller": True},
        ],
    },
    "spec": {"containers": [{"name": "c", "args": ["x", ["y"]]}], "count": 1},
}


def test_the_parts_of_an_object_that_every_caller_needs() -> None:
    assert objects.key(POD) == objects.Key("ns", "a")
    assert objects.name(POD) == "a"
    assert objects.namespace(POD) == "ns"
    assert objects.uid(POD) == "u"
    assert objects.resource_version(POD) == "7"
    assert objects.labels(POD) == {"app": "x"}


def test_an_object_that_was_never_stored_has_empty_parts() -> None:
    new: dict[str, Any] = {"metadata": {"name": "a", "labels": None}}
    assert objects.key(new) == objects.Key("", "a")
    assert objects.uid(new) == objects.resource_version(new) == ""
    assert objects.labels(new) == {}
    assert objects.owner_of(new) is None


def test_the_owner_is_the_controller_among_the_owners() -> None:
    owner = objects.owner_of(POD)
    assert owner is not None
    assert owner["uid"] == "r"


def test_a_controller_reference_is_found_again_as_the_owner() -> None:
    child = {"metadata": {"ownerReferences": [objects.controller_reference(POD)]}}
    assert objects.owner_of(child) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "a",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_keys_and_resources_read_as_kubectl_writes_them() -> None:
    assert str(objects.Key("ns", "a")) == "ns/a"
    assert str(objects.Key("", "a")) == "a"
    assert str(objects.PODS) == "pods"
    assert str(objects.DEPLOYMENTS) == "deployments.apps"


def test_the_api_version_of_the_core_group_has_no_group() -> None:
    assert objects.PODS.api_version == "v1"
    assert objects.DEPLOYMENTS.api_version == "apps/v1"


DICT_MUTATORS: list[Any] = [
    lambda d: d.__setitem__("a", 1),
    lambda d: d.__delitem__("a"),
    lambda d: d.__ior__({}),
    lambda d: d.clear(),
    lambda d: d.pop("a"),
    lambda d: d.popitem(),
    lambda d: d.setdefault("a", 1),
    lambda d: d.update(a=1),
]
LIST_MUTATORS: list[Any] = [
    lambda x: x.__setitem__(0, 1),
    lambda x: x.__delitem__(0),
    lambda x: x.__iadd__([1]),
    lambda x: x.__imul__(2),
    lambda x: x.append(1),
    lambda x: x.clear(),
    lambda x: x.extend([1]),
    lambda x: x.insert(0, 1),
    lambda x: x.pop(),
    lambda x: x.remove(1),
    lambda x: x.reverse(),
    lambda x: x.sort(),
]


@pytest.mark.parametrize("mutate", DICT_MUTATORS)
def test_a_frozen_dict_refuses_every_change(mutate: Any) -> None:
    frozen = freeze({"a": 0})
    with pytest.raises(TypeError, match=r"dict belongs to the cache.*thaw"):
        mutate(frozen)
    assert frozen == {"a": 0}


@pytest.mark.parametrize("mutate", LIST_MUTATORS)
def test_a_frozen_list_refuses_every_change(mutate: Any) -> None:
    frozen = freeze({"a": [2, 1]})["a"]
    with pytest.raises(TypeError, match=r"list belongs to the cache.*thaw"):
        mutate(frozen)
    assert frozen == [2, 1]


def test_every_mutator_of_dict_and_list_is_refused() -> None:
    """A Python that adds a mutator makes this fail."""
    harmless = {
        *("__new__", "__init__", "__getattribute__", "__reversed__", "__sizeof__"),
        *("__class_getitem__", "__doc__", "__hash__", "__or__", "__ror__"),
        *("__add__", "__mul__", "__rmul__", "__contains__", "__getitem__"),
        *("__iter__", "__len__", "__repr__", "__eq__", "__ne__", "__lt__", "__le__"),
        *("__gt__", "__ge__", "copy", "count", "index", "get", "items", "keys"),
        *("values", "fromkeys"),
    }
    for frozen, plain in ((FrozenDict, dict), (FrozenList, list)):
        assert set(vars(plain)) - set(vars(frozen)) <= harmless


def test_frozen_objects_equal_and_serialise_as_plain_ones() -> None:
    frozen = freeze(POD)
    assert frozen == POD
    assert isinstance(frozen["spec"]["containers"][0]["args"][1], FrozenList)
    assert orjson.dumps(frozen) == orjson.dumps(POD)
    assert json.loads(json.dumps(frozen)) == POD


def test_freezing_leaves_the_original_as_it_was() -> None:
    plain = {"a": {"b": [1]}}
    freeze(plain)
    plain["a"]["b"].append(2)
    assert plain == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize("copied", [thaw, copy.deepcopy])
def test_a_deep_copy_of_a_frozen_object_can_be_changed_everywhere(copied: Any) -> None:
    frozen = freeze(POD)
    plain = copied(frozen)
    plain["metadata"]["labels"]["b"] = "y"
    plain["spec"]["containers"][0]["args"][1].append("z")
    assert frozen == POD
    assert type(plain["spec"]["containers"]) is list


def test_copies_of_parts_can_be_changed_too() -> None:
    frozen = freeze(POD)
    containers = copy.deepcopy(frozen["spec"]["containers"])
    containers[0]["name"] = "d"
    assert type(copy.copy(frozen)) is dict
    assert type(copy.copy(frozen["spec"]["containers"])) is list
    assert frozen == POD
