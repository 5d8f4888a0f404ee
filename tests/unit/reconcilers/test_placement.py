"""Which nodes pods are bound to, also beside an affinity of the user's own."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pykaito.reconcilers.inference.manifests.placement import (
    REQUIRED,
    affinity,
    bound_nodes,
    narrowed,
)

NODES = ["gpu-0", "gpu-1", "gpu-2"]
#: What a term may ask of a node, and which of the nodes have it.
ZONES = {"gpu-0": "a", "gpu-1": "b", "gpu-2": "a"}


def in_zone(*zones: str) -> dict[str, Any]:
    return {"key": "zone", "operator": "In", "values": list(zones)}


def named(*names: str) -> dict[str, Any]:
    return {"key": "metadata.name", "operator": "In", "values": list(names)}


def admits(placed: dict[str, Any], node: str) -> bool:
    """Decide as the scheduler does: any term, all of its requirements."""
    terms = placed["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(ZONES[node] in e["values"] for e in term.get("matchExpressions") or ())
        and all(node in f["values"] for f in term.get("matchFields") or ())
        for term in terms
    )


def written(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


TERMS = st.fixed_dictionaries(
    {},
    optional={
        "matchExpressions": st.lists(
            st.sampled_from([in_zone("a"), in_zone("b"), in_zone("a", "b")]), max_size=2
        ),
        "matchFields": st.lists(st.sampled_from(NODES).map(named), max_size=1),
    },
)


@given(
    st.lists(TERMS, min_size=1, max_size=3),
    st.lists(st.sampled_from(NODES), min_size=1, unique=True),
)
def test_a_narrowed_affinity_admits_what_both_admit(
    terms: list[dict[str, Any]], nodes: list[str]
) -> None:
    theirs = written(*terms)
    both = narrowed(theirs, nodes)
    for node in NODES:
        assert admits(both, node) == (admits(theirs, node) and node in nodes)


def test_what_else_an_affinity_says_is_kept() -> None:
    theirs = {
        "podAntiAffinity": {"a": 1},
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [1]},
    }
    both = narrowed(theirs, ["gpu-0"])
    assert both["podAntiAffinity"] == {"a": 1}
    preferred = both["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred == [1]


def test_without_an_affinity_the_nodes_are_all_there_is() -> None:
    assert narrowed({}, NODES) == affinity(NODES)


@given(st.lists(TERMS, max_size=3), st.lists(st.sampled_from(NODES), unique=True))
def test_the_nodes_that_pods_are_bound_to_can_be_read_back(
    terms: list[dict[str, Any]], nodes: list[str]
) -> None:
    terms = [term for term in terms if any(term.values())]
    spec = {"affinity": narrowed(written(*terms), nodes)}
    if nodes:
        assert bound_nodes({"spec": {"template": {"spec": spec}}}) == sorted(nodes)


def test_the_order_of_the_nodes_makes_no_difference() -> None:
    assert affinity(["b", "a"]) == affinity(["a", "b"])
    theirs = written({"matchExpressions": [in_zone("a")]})
    assert narrowed(theirs, ["b", "a"]) == narrowed(theirs, ["a", "b"])
