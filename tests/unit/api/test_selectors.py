from pykaito.api.selectors import LabelSelector


def test_a_selector_is_a_map_of_labels_in_either_form() -> None:
    selector = LabelSelector.model_validate(
        {
            "matchLabels": {"apps": "falcon"},
            "matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["west"]},
            ],
        }
    )
    assert selector.as_labels() == {"apps": "falcon", "zone": "west"}


def test_labels_that_the_operator_sets_itself_are_left_out() -> None:
    selector = LabelSelector(
        match_labels={"kaito.sh/workspace": "other", "apps": "falcon"}
    )
    assert selector.as_labels() == {"apps": "falcon"}


def test_an_empty_selector_asks_for_nothing() -> None:
    assert LabelSelector().as_labels() == {}
