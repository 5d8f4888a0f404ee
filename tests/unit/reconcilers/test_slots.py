"""Where the nodes of a Workspace come from."""

from hypothesis import given
from hypothesis import strategies as st

from pykaito.reconcilers.workspace.slots import allot, slot_of


def test_what_is_missing_gets_the_lowest_slots() -> None:
    found = allot(3, held=(), free=(), made={})
    assert (found.prepared, found.new) == ((), (0, 1, 2))


def test_prepared_nodes_in_use_come_first_and_the_rest_is_made() -> None:
    found = allot(3, held=["a"], free=[], made={})
    assert (found.prepared, found.new) == (("a",), (0, 1))


def test_a_free_prepared_node_takes_no_pod_from_a_node_that_was_made() -> None:
    found = allot(2, held=[], free=["a", "b"], made={0: True})
    assert (found.prepared, found.kept, found.new) == (("a",), (0,), ())


def test_of_more_than_are_wanted_those_that_are_ready_stay() -> None:
    found = allot(1, held=[], free=[], made={0: False, 1: True, 2: True})
    assert found.kept == (1,)


def test_a_slot_on_its_way_out_is_not_used_before_it_is_gone() -> None:
    found = allot(2, held=[], free=[], made={1: True}, leaving=[0])
    assert (found.kept, found.new) == ((1,), (2,))


def test_a_machine_tells_its_slot_unless_its_node_was_prepared() -> None:
    made = {"metadata": {"name": "ws-7"}, "spec": {"instanceType": "x"}}
    assert slot_of(made, "ws") == 7
    assert (
        slot_of({"metadata": {"name": "ws-7"}, "spec": {"nodeName": "n"}}, "ws") is None
    )
    assert slot_of({"metadata": {"name": "ws-x"}, "spec": {}}, "ws") is None


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(
    count=st.integers(1, 12),
    held=NAMES,
    free=NAMES,
    made=st.dictionaries(st.integers(0, 9), st.booleans()),
    leaving=st.lists(st.integers(0, 9)),
)
def test_there_are_as_many_as_wanted_and_the_choice_is_stable(
    count: int,
    held: list[str],
    free: list[str],
    made: dict[int, bool],
    leaving: list[int],
) -> None:
    free = [node for node in free if node not in held]
    leaving = [slot for slot in leaving if slot not in made]
    found = allot(count, held=held, free=free, made=made, leaving=leaving)
    assert len(found.prepared) + len(found.slots) == count
    assert not {*found.new} & {*made, *leaving}
    assert len(set(found.slots)) == len(found.slots)
    # Once what is new is there and the prepared nodes are in use, nothing changes.
    after = allot(
        count,
        held=found.prepared,
        free=[node for node in (*held, *free) if node not in found.prepared],
        made=dict.fromkeys(found.slots, False),
        leaving=leaving,
    )
    assert (after.prepared, after.slots, after.new) == (found.prepared, found.slots, ())
