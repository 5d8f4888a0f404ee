"""Where a Workspace has its weights from, and what of that is refused."""

from typing import Any

import pytest

from pykaito.runtime.presets.plan import PlanReason
from pykaito.runtime.presets.weights import (
    FromClaim,
    FromHub,
    FromImage,
    FromNode,
    Weights,
)
from tests.unit.presets.workspaces import plan, refusal, workspace

LOCAL = "kaito.sh/use-local-weights"
MOUNT = "kaito.sh/mount-weights-image"
CLAIM = "kaito.sh/weights-claim"
CACHE = "kaito.sh/cache-claim"
IMAGE = {
    "name": "phi-2",
    "accessMode": "private",
    "presetOptions": {"image": "r/phi-2:1"},
}


def weights(annotations: dict[str, str], preset: Any = None) -> Weights:
    spec = workspace(preset or {"name": "phi-2"}, annotations=annotations)
    found: Weights = plan(spec).server.weights
    return found


def refused(annotations: dict[str, str], preset: Any = None) -> str:
    spec = workspace(preset or {"name": "phi-2"}, annotations=annotations)
    reason, message = refusal(spec)
    assert reason is PlanReason.ANNOTATION_INVALID
    return message


@pytest.mark.parametrize(
    ("annotations", "preset", "source"),
    [
        ({}, None, FromHub()),
        ({LOCAL: "false", MOUNT: "false"}, None, FromHub()),
        ({LOCAL: "true"}, None, FromNode("/opt/kaito/models/phi-2")),
        (
            {LOCAL: "true"},
            {"name": "microsoft/Phi-4-mini-instruct"},
            FromNode("/opt/kaito/models/microsoft-phi-4-mini-instruct"),
        ),
        ({CLAIM: "models"}, None, FromClaim("models")),
        ({CLAIM: "models.v2/org/phi_2.0"}, None, FromClaim("models.v2", "org/phi_2.0")),
        ({}, IMAGE, FromImage("r/phi-2:1")),
        ({MOUNT: "false"}, IMAGE, FromImage("r/phi-2:1")),
        ({MOUNT: "true"}, IMAGE, FromImage("r/phi-2:1", mounted=True)),
    ],
)
def test_weights_come_from_where_the_workspace_says(
    annotations: dict[str, str], preset: Any, source: Weights
) -> None:
    assert weights(annotations, preset) == source


@pytest.mark.parametrize(
    "claim",
    [
        *("", "/", "models/", "/models", "Models", "a_b", "m" * 254, "models//a"),
        *("models/..", "models/../a", "models/a/..", "models/./a", "models/ a"),
        *("models/a\n", "models/$(A)", f"models/{'a' * 1025}"),
    ],
)
def test_what_names_no_folder_of_a_claim_is_refused(claim: str) -> None:
    message = refused({CLAIM: claim})
    found = f"metadata.annotations[{CLAIM}]: found {claim[:253]!r}; write the name of"
    assert message.startswith(found)
    assert "such as models/phi-3" in message


@pytest.mark.parametrize("claim", ["", "kept/folder", "Kept", "/"])
def test_what_names_no_claim_for_the_cache_is_refused(claim: str) -> None:
    assert refused({CACHE: claim}) == (
        f"metadata.annotations[{CACHE}]: found {claim!r}; write the name of a "
        "PersistentVolumeClaim of the Workspace's namespace"
    )


@pytest.mark.parametrize(
    ("annotations", "preset", "named"),
    [
        ({LOCAL: "true", CLAIM: "m"}, None, [f"[{LOCAL}] 'true'", f"[{CLAIM}]"]),
        ({CLAIM: "m"}, IMAGE, ["presetOptions.image 'r/phi-2:1'", f"[{CLAIM}]"]),
        ({LOCAL: "true"}, IMAGE, ["presetOptions.image 'r/phi-2:1'", f"[{LOCAL}]"]),
        (
            {LOCAL: "true", CLAIM: "m"},
            IMAGE,
            ["presetOptions.image", f"[{LOCAL}]", f"[{CLAIM}]: found 'm' beside"],
        ),
    ],
)
def test_sources_beside_each_other_are_refused_with_all_of_them_named(
    annotations: dict[str, str], preset: Any, named: list[str]
) -> None:
    message = refused(annotations, preset)
    assert all(field in message for field in named)
    assert message.endswith("weights come from one place: keep one of them")


def test_an_image_to_mount_has_to_be_named() -> None:
    message = refused({MOUNT: "true"})
    assert message.startswith(f"metadata.annotations[{MOUNT}]: found 'true'")
    assert "inference.preset.presetOptions.image" in message


@pytest.mark.parametrize("annotation", [LOCAL, MOUNT])
def test_a_switch_is_true_or_false(annotation: str) -> None:
    assert refused({annotation: "yes"}).endswith("found 'yes'; set it to true or false")


def test_a_server_may_not_write_to_its_weights() -> None:
    message = refused({CLAIM: "models/phi", CACHE: "models"})
    assert message.startswith(f"metadata.annotations[{CACHE}]: found 'models'")
    assert CLAIM in message
    assert message.endswith("name another claim")


@pytest.mark.parametrize("annotations", [{LOCAL: "true"}, {CLAIM: "models"}])
def test_weights_that_are_here_need_no_licence_of_a_hub(
    annotations: dict[str, str],
) -> None:
    for name in ("llama-3.1-8b-instruct", "llama-2-7b"):
        server = plan(workspace({"name": name}, annotations=annotations)).server
        assert not server.downloads
        assert server.revision == ""


def test_a_cache_is_of_every_source() -> None:
    for annotations in ({}, {LOCAL: "true"}, {CLAIM: "models"}):
        spec = workspace({"name": "phi-2"}, annotations={CACHE: "kept"} | annotations)
        assert plan(spec).server.cache_claim == "kept"


@pytest.mark.parametrize(
    ("annotation", "mode"), [(CLAIM, "ReadOnlyMany"), (CACHE, "ReadWriteMany")]
)
def test_a_claim_that_several_nodes_share_is_told_of(
    annotation: str, mode: str
) -> None:
    asked = {annotation: "shared"}
    spec = workspace({"name": "phi-2"}, annotations=asked, count=2)
    (warning,) = plan(spec).warnings
    assert warning.startswith(f"metadata.annotations[{annotation}]: 2 nodes share")
    assert mode in warning
    assert plan(workspace({"name": "phi-2"}, annotations=asked)).warnings == ()


def test_an_adapters_claim_that_several_nodes_share_is_told_of() -> None:
    kept = {"persistentVolumeClaim": {"claimName": "law"}}
    inference = {
        "preset": {"name": "phi-2"},
        "adapters": [
            {"source": {"name": "tone", "image": "r/tone:1"}},
            {"source": {"name": "law", "volumeSource": kept}},
        ],
    }
    (warning,) = plan(workspace({}, inference=inference, count=2)).warnings
    assert warning.startswith(
        "inference.adapters[1].source.volumeSource: 2 nodes share the claim"
    )
    assert plan(workspace({}, inference=inference)).warnings == ()


@pytest.mark.parametrize("annotation", [LOCAL, MOUNT, CLAIM, CACHE])
def test_a_template_mounts_its_volumes_itself(annotation: str) -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "r/a:1"}]}}
    spec = workspace(
        {}, annotations={annotation: "true"}, inference={"template": template}
    )
    (warning,) = plan(spec).warnings
    assert warning.startswith(f"metadata.annotations[{annotation}]: has no effect")
