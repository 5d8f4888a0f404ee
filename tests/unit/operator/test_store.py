import pytest

from pykaito.operator.frozen import FrozenDict, freeze
from pykaito.operator.objects import Key, Object
from pykaito.operator.store import OWNER_UID, Store


def pod(
    name: str, *, namespace: str = "ns", owner: str = "", node: str = ""
) -> FrozenDict:
    references = [{"uid": "other"}]
    if owner:
        references.append({"uid": owner, "controller": True})
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references}
    return freeze({"metadata": metadata, "spec": {"nodeName": node}})


def by_node(obj: Object) -> list[str]:
    return [obj["spec"]["nodeName"]] if obj["spec"]["nodeName"] else []


def names(objects: list[Object]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


@pytest.fixture
def store() -> Store:
    return Store()


def test_an_object_is_found_by_its_key_until_it_is_discarded(store: Store) -> None:
    stored = pod("a")
    store.put(stored)
    assert store.get(Key("ns", "a")) is stored
    assert len(store) == 1
    store.discard(Key("ns", "a"))
    assert store.get(Key("ns", "a")) is None
    assert len(store) == 0


def test_discarding_what_is_not_there_is_no_mistake(store: Store) -> None:
    store.discard(Key("ns", "a"))
    assert len(store) == 0


def test_a_list_is_of_all_namespaces_or_of_one(store: Store) -> None:
    store.put(pod("a"))
    store.put(pod("b", namespace="other"))
    assert names(store.list()) == ["a", "b"]
    assert names(store.list("other")) == ["b"]
    assert store.list("") == []


def test_objects_are_found_by_the_uid_of_their_controller_only(store: Store) -> None:
    store.put(pod("a", owner="u"))
    store.put(pod("b"))
    assert names(store.by_index(OWNER_UID, "u")) == ["a"]
    assert store.by_index(OWNER_UID, "other") == []


def test_an_index_follows_an_object_that_changes(store: Store) -> None:
    store.add_index("node", by_node)
    store.put(pod("a", node="one"))
    store.put(pod("a", node="two"))
    assert store.by_index("node", "one") == []
    assert names(store.by_index("node", "two")) == ["a"]
    store.put(pod("a"))
    assert store.by_index("node", "two") == []
    store.discard(Key("ns", "a"))
    assert store.by_index("node", "") == []


def test_an_index_hands_out_the_newest_object_of_an_unchanged_value(
    store: Store,
) -> None:
    store.put(pod("a", owner="u"))
    newest = pod("a", owner="u", node="one")
    store.put(newest)
    assert store.by_index(OWNER_UID, "u") == [newest]


def test_an_index_added_late_knows_what_is_there(store: Store) -> None:
    store.put(pod("a", node="one"))
    store.add_index("node", by_node)
    assert names(store.by_index("node", "one")) == ["a"]


def test_an_object_may_have_several_values_and_the_same_twice(store: Store) -> None:
    store.add_index("words", lambda obj: obj["metadata"]["name"].split("-"))
    store.put(pod("a-b-a"))
    assert names(store.by_index("words", "a")) == ["a-b-a"]
    assert names(store.by_index("words", "b")) == ["a-b-a"]
    store.discard(Key("ns", "a-b-a"))
    assert store.by_index("words", "a") == []


def test_an_index_may_be_added_twice_but_not_mean_two_things(store: Store) -> None:
    store.add_index("node", by_node)
    store.add_index("node", by_node)
    with pytest.raises(ValueError, match="index 'node' exists"):
        store.add_index("node", lambda _: [])


def test_an_unknown_index_is_an_error_that_names_the_known(store: Store) -> None:
    with pytest.raises(KeyError, match=OWNER_UID):
        store.by_index("nodes", "one")
