"""A pod template of the user's own: what it takes, and what it must have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.runtime.presets.plan import PlanReason
from pykaito.runtime.presets.pod_template import InvalidTemplateError, check_template
from tests.unit.presets.workspaces import plan, refusal, workspace

GPU = "nvidia.com/gpu"


def container(**limits: Any) -> dict[str, Any]:
    named = {"name": "server", "image": "r/server:1"}
    return named | ({"resources": {"limits": limits}} if limits else {})


def template(*containers: Any, init: Any = ()) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), "initContainers": list(init)}}


def of(found: Any, **more: Any) -> Any:
    return workspace({}, inference={"template": found, **more})


def test_a_template_is_served_on_as_many_nodes_as_are_asked_for() -> None:
    found = plan(workspace({}, count=2, inference={"template": template(container())}))
    assert (found.nodes, found.server, found.node_resources) == (2, None, {})
    assert (found.memory, found.warnings) == (None, ())


def test_containers_take_the_sum_of_their_accelerators() -> None:
    mixed = template(
        container(**{GPU: 1, "cpu": "4"}),
        container(**{GPU: "2", "nvidia.com/mig-1g.5gb": "1", "amd.com/gpu": "1"}),
        container(**{"gpu.intel.com/i915": "1", "nvidia.com/gpu.shared": "3"}),
    )
    assert plan(of(mixed)).node_resources == {
        "amd.com/gpu": "1",
        "gpu.intel.com/i915": "1",
        GPU: "3",
        "nvidia.com/mig-1g.5gb": "1",
    }


def test_a_request_counts_where_there_is_one() -> None:
    both = container() | {"resources": {"requests": {GPU: "2"}, "limits": {GPU: "2"}}}
    assert plan(of(template(both))).gpus_per_node == 2
    only = container() | {"resources": {"requests": {GPU: "1e1"}}}
    assert plan(of(template(only))).gpus_per_node == 10


@pytest.mark.parametrize(("of_init", "gpus"), [(1, 2), (4, 4)])
def test_an_init_container_has_the_node_before_the_others(
    of_init: int, gpus: int
) -> None:
    init = [container(**{GPU: of_init})]
    found = template(container(**{GPU: 2}), init=init)
    assert plan(of(found)).gpus_per_node == gpus


def test_a_sidecar_runs_beside_all_that_start_after_it() -> None:
    sidecar = container(**{GPU: 1}) | {"restartPolicy": "Always"}
    later = template(container(), init=[container(**{GPU: 3}), sidecar])
    assert plan(of(later)).gpus_per_node == 3
    before = template(container(), init=[sidecar, container(**{GPU: 3})])
    assert plan(of(before)).gpus_per_node == 4
    assert plan(of(template(container(**{GPU: 2}), init=[sidecar]))).gpus_per_node == 3


def placed(**fields: Any) -> Any:
    return {"spec": {"containers": [container()], **fields}}


def required(terms: Any) -> Any:
    found = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return placed(affinity={"nodeAffinity": found})


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"metadata": {"labels": ["a"]}, **placed()}, "metadata.labels: found a list"),
        (placed(tolerations=5), "spec.tolerations: found '5'; write a list"),
        (placed(affinity="x"), "spec.affinity: found 'x'; write a mapping"),
        (placed(affinity={"nodeAffinity": []}), "affinity.nodeAffinity: found a list"),
        (required("x"), "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution:"),
        (required({"nodeSelectorTerms": "x"}), "nodeSelectorTerms: found 'x'"),
        (required({"nodeSelectorTerms": [None]}), "nodeSelectorTerms[0]: found none"),
        (
            required({"nodeSelectorTerms": [{"matchFields": 5}]}),
            "nodeSelectorTerms[0].matchFields: found '5'",
        ),
        ({}, "inference.template.spec: found none"),
        ({"spec": {}}, "inference.template.spec.containers: found none"),
        ({"spec": {"containers": []}}, "spec.containers: found a list; list"),
        ({"spec": {"containers": {"a": 1}}}, "spec.containers: found a mapping"),
        ({"spec": "x"}, "inference.template.spec: found 'x'"),
        ({"metadata": [1], "spec": {}}, "inference.template.metadata: found a list"),
        ({"kind": "Pod", "spec": {}}, "inference.template.kind: found 'Pod'"),
        (template("x"), "spec.containers[0]: found 'x'"),
        (template({"name": "a"}), "spec.containers[0].image: found none"),
        (template({"image": "a"}), "spec.containers[0].name: found none"),
        (
            template(container(), init=[{"name": "a", "image": 3}]),
            "spec.initContainers[0].image: found '3'",
        ),
        (
            template(container(**{GPU: "many"})),
            f"spec.containers[0].resources.limits[{GPU}]: found 'many'",
        ),
        (template(container(**{GPU: "1500m"})), "found '1500m'; write a whole number"),
        (template(container(cpu="-1")), "found '-1'; write a number from 0"),
        (template(container() | {"resources": []} | {"resources": [1]}), "resources:"),
    ],
)
def test_what_is_no_pod_template_is_refused_with_its_path(
    found: dict[str, Any], told: str
) -> None:
    reason, message = refusal(of(found))
    assert reason is PlanReason.TEMPLATE_INVALID
    assert message.startswith("inference.template.")
    assert told in message


def test_fields_of_a_template_may_be_null() -> None:
    nulls = dict.fromkeys(("tolerations", "affinity", "initContainers", "nodeSelector"))
    assert plan(of({"metadata": {"labels": None}, **placed(**nulls)})).nodes == 1
    assert plan(of({"metadata": None, **required(None)})).nodes == 1


def test_neither_preset_nor_template_is_refused() -> None:
    reason, message = refusal(workspace({}, inference={"config": "c"}))
    assert reason is PlanReason.TEMPLATE_INVALID
    assert "found neither preset nor template" in message


def test_what_a_template_does_without_is_told() -> None:
    adapters = [{"source": {"name": "a", "image": "r/a:1"}}]
    spec = workspace(
        {},
        inference={
            "template": template(container()),
            "adapters": adapters,
            "config": "settings",
        },
        resource={"partition": {"mode": "accelerator", "count": 1}},
    )
    fields = [warning.partition(":")[0] for warning in plan(spec).warnings]
    assert fields == ["inference.adapters", "inference.config", "resource.partition"]


def test_an_image_that_is_a_placeholder_is_doubted() -> None:
    found = template(container() | {"image": "<IMAGE>"})
    (warning,) = plan(of(found)).warnings
    assert warning.startswith("inference.template.spec.containers[0].image: found ")


def test_a_node_that_goes_past_the_scheduler_is_doubted() -> None:
    (warning,) = plan(of(placed(nodeName="gpu-9"))).warnings
    assert warning.startswith("inference.template.spec.nodeName: found 'gpu-9'")
    assert "resource.preferredNodes" in warning


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "image", "resources", "limits", "requests", GPU, "cpu"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(
    st.fixed_dictionaries(
        {
            "spec": st.dictionaries(
                st.sampled_from(["containers", "initContainers"]), JSON
            )
        }
    )
)
def test_any_object_is_taken_or_refused(found: dict[str, Any]) -> None:
    try:
        check_template(found)
    except InvalidTemplateError:
        return
    assert plan(of(found)).server is None


@pytest.mark.parametrize("depth", [30, 31, 400])
def test_a_template_that_nobody_could_write_back_is_refused(depth: int) -> None:
    deep: Any = 1
    for number in range(depth):
        deep = [deep] if number % 2 else {"a": deep}
    found = {"metadata": {"x": deep}, **template(container())}
    if depth <= 30:
        check_template(found)
        return
    reason, message = refusal(of(found))
    assert reason is PlanReason.TEMPLATE_INVALID
    assert "nest no field deeper than 32" in message
