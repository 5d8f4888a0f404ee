"""Which prepared nodes a Workspace takes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from pykaito.reconcilers.workspace.machines import machine_name
from pykaito.reconcilers.workspace.nodes import select_nodes
from tests.unit.reconcilers.workspaces import node, workspace

GPU = {"nvidia.com/gpu": "1"}
LABELS = {"apps": "falcon-7b"}
OF_TYPE = {**LABELS, "node.kubernetes.io/instance-type": "Standard_NC12s_v3"}


def choose(
    nodes: list[dict[str, Any]],
    *,
    count: int = 1,
    assigned: Collection[str] = (),
    claimed: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
    **resource: Any,
) -> tuple[str, ...]:
    spec = workspace(resource=resource)
    return select_nodes(
        spec,
        nodes,
        count=count,
        needs=lambda _: GPU,
        assigned=assigned,
        claimed=claimed or {},
    ).nodes


def test_a_node_with_the_labels_and_the_instance_type_is_taken() -> None:
    assert choose([node("a"), node("b", labels=OF_TYPE)]) == ("b",)


def test_a_node_of_another_instance_type_is_left_alone() -> None:
    assert choose([node("a", labels=LABELS)]) == ()


def test_a_preferred_node_needs_no_instance_type() -> None:
    assert choose([node("a", labels=LABELS)], preferredNodes=["a"]) == ("a",)


def test_a_preferred_node_comes_before_a_matching_one() -> None:
    nodes = [node("a", labels=OF_TYPE), node("z", labels=LABELS)]
    assert choose(nodes, preferredNodes=["z"]) == ("z",)


def test_what_needs_no_gpu_leaves_nodes_with_gpus_to_others() -> None:
    nodes = [node("a", labels=OF_TYPE), node("z", labels=OF_TYPE, gpus=None)]
    for needs, taken in (({"cpu": "1", "memory": "2Gi"}, "z"), ({}, "z"), (GPU, "a")):
        selection = select_nodes(
            workspace(), nodes, count=1, needs=lambda _, needs=needs: needs
        )
        assert selection.nodes == (taken,)


def test_a_node_in_use_is_kept_when_a_better_name_appears() -> None:
    nodes = [node("a", labels=OF_TYPE), node("b", labels=OF_TYPE)]
    assert choose(nodes, assigned={"b"}) == ("b",)


def test_a_node_in_use_that_is_not_ready_for_a_while_is_kept() -> None:
    nodes = [node("a", labels=OF_TYPE), node("b", labels=OF_TYPE, ready=False)]
    assert choose(nodes, assigned={"b"}) == ("b",)


def test_a_ready_node_comes_before_one_that_is_not() -> None:
    nodes = [node("a", labels=OF_TYPE, ready=False), node("b", labels=OF_TYPE)]
    assert choose(nodes) == ("b",)


def test_a_node_with_gpus_comes_before_one_without() -> None:
    nodes = [node("a", labels=OF_TYPE, gpus=None), node("b", labels=OF_TYPE)]
    assert choose(nodes) == ("b",)


def test_a_cordoned_node_comes_after_one_that_takes_pods() -> None:
    cordoned = node("a", labels=OF_TYPE) | {"spec": {"unschedulable": True}}
    assert choose([cordoned, node("b", labels=OF_TYPE)]) == ("b",)


def test_a_node_whose_gpus_another_workspace_wants_comes_after_a_free_one() -> None:
    nodes = [node("a", labels=OF_TYPE), node("b", labels=OF_TYPE, ready=False)]
    assert choose(nodes, claimed={"a": [GPU]}) == ("b",)


def test_a_node_with_gpus_for_two_is_shared() -> None:
    nodes = [node("a", labels=OF_TYPE, gpus=2), node("b", labels=OF_TYPE)]
    assert choose(nodes, claimed={"a": [GPU]}) == ("a",)


def test_a_preferred_node_that_lacks_the_label_is_taken_last() -> None:
    nodes = [node("bad"), node("good", labels=OF_TYPE)]
    assert choose(nodes, preferredNodes=["bad"], count=2) == ("good", "bad")


def test_a_preferred_node_that_does_not_exist_is_taken_last_of_all() -> None:
    nodes = [node("unlabelled")]
    preferred = ["absent", "unlabelled"]
    chosen = choose(nodes, preferredNodes=preferred, instanceType=None, count=2)
    assert chosen == ("unlabelled", "absent")


def test_without_instance_type_and_names_the_labels_decide() -> None:
    assert choose([node("a", labels=LABELS)], instanceType=None) == ("a",)


def test_named_nodes_without_instance_type_are_all_there_is() -> None:
    nodes = [node("a", labels=LABELS), node("b", labels=LABELS)]
    chosen = choose(nodes, instanceType=None, preferredNodes=["b"], count=2)
    assert chosen == ("b",)


def test_what_is_missing_is_told_with_what_would_count() -> None:
    selection = select_nodes(workspace(), [], count=2, needs=lambda _: GPU)
    assert selection.missing == 2
    assert "apps=falcon-7b" in selection.wanted
    assert "Standard_NC12s_v3" in selection.wanted


@pytest.mark.parametrize("nodes", [["a", "b"], ["b", "a"]])
def test_the_choice_does_not_depend_on_the_order_of_the_list(nodes: list[str]) -> None:
    assert choose([node(n, labels=OF_TYPE) for n in nodes], count=2) == ("a", "b")


def test_a_machine_is_named_by_workspace_and_node_alone() -> None:
    assert machine_name("w", "a") == machine_name("w", "a")
    assert machine_name("w", "a") != machine_name("w", "b")
    assert machine_name("w", "a") == "w-ca978112"


def test_a_node_that_the_model_does_not_fit_comes_after_those_it_does() -> None:
    nodes = [node("a", labels=OF_TYPE), node("b", labels=OF_TYPE)]
    chosen = select_nodes(
        workspace(resource={"preferredNodes": ["a"]}),
        nodes,
        count=2,
        needs=lambda found: GPU if found["metadata"]["name"] == "b" else None,
    )
    assert chosen.nodes == ("b", "a")
