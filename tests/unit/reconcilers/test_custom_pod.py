"""A pod template of the user's own, whatever is in it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pykaito.reconcilers.inference.manifests import bound_nodes
from pykaito.reconcilers.inference.manifests.custom_pod import custom_pod
from pykaito.runtime.presets.pod_template import InvalidTemplateError, check_template
from tests.unit.reconcilers.workspaces import workspace

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
CONTAINERS = [{"name": "server", "image": "registry/server:1"}]


def perhaps(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects with some of the fields, or something else in their place."""
    return st.fixed_dictionaries({}, optional=fields) | ODD


def several(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=2) | ODD


ODD = st.sampled_from([None, "x", 5, True, [], {}, ["x"], [None], {"x": 1}])
TERM = perhaps(matchExpressions=several(ODD), matchFields=several(ODD))
REQUIREMENT = perhaps(nodeSelectorTerms=several(TERM))
AFFINITY = perhaps(nodeAffinity=perhaps(**{REQUIRED: REQUIREMENT}), podAffinity=ODD)
TEMPLATE = st.fixed_dictionaries(
    {
        "spec": perhaps(
            containers=st.just(CONTAINERS), tolerations=ODD, affinity=AFFINITY
        )
    },
    optional={"metadata": perhaps(labels=ODD, annotations=ODD)},
)


@given(TEMPLATE)
def test_any_template_that_is_not_refused_makes_a_pod(template: dict[str, Any]) -> None:
    try:
        check_template(template)
    except InvalidTemplateError:
        return
    made = custom_pod(workspace(), template, resources=(), nodes=["gpu-0"])
    assert made["metadata"]["labels"]["kaito.sh/workspace"] == workspace().metadata.name
    assert made["spec"]["containers"] == CONTAINERS
    assert bound_nodes({"spec": {"template": made}}) in (["gpu-0"], [])
