"""An image that cannot be pulled is told with the registry's answer and a remedy."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.inference.manifests.vllm_server import MODULE as VLLM
from pykaito.reconcilers.inference.status import conditions
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    found,
    pod,
    template,
    waiting,
)
from tests.unit.reconcilers.workspaces import raw_workspace

HOST = "registry.example.com:5000"
PRIVATE = raw_workspace(
    inference={
        "preset": {
            "name": "falcon-7b",
            "accessMode": "private",
            "presetOptions": {"image": IMAGE, "imagePullSecrets": ["login"]},
        },
        "adapters": [
            {"source": {"name": "a", "image": "a.example.com/a:1"}},
            {"source": {"name": "b", "image": "b.example.com/b:1"}},
        ],
    }
)
_PULL = (
    f'failed to pull and unpack image "{IMAGE}": failed to resolve reference '
    f'"{IMAGE}": '
)
DENIED = (
    f"{_PULL}pulling from host {HOST} failed with status code [manifests 1]: "
    "401 Unauthorized"
)
NOT_FOUND = f"rpc error: code = NotFound desc = {_PULL}{IMAGE}: not found"
UNREACHABLE = (
    f'{_PULL}failed to do request: Head "https://{HOST}/v2/models/falcon/manifests/1": '
    f"dial tcp: lookup {HOST} on 10.0.0.10:53: no such host"
)
INVALID = (
    'Failed to apply default image tag "Bad/UPPER:1": couldn\'t parse image name '
    '"Bad/UPPER:1": invalid reference format: repository name (UPPER) must be lowercase'
)


def weights(message: str, reason: str = "ErrImagePull") -> dict[str, Any]:
    return waiting(reason, message) | {"name": "weights"}


def test_the_registrys_answer_is_told_without_what_was_said_on_its_way() -> None:
    message = found(pod(init=(weights(NOT_FOUND),)), workspace=PRIVATE).message
    assert (
        f"cannot pull {IMAGE} (inference.preset.presetOptions.image) for container "
        "weights: not found. Push the image" in message
    )


def test_the_answer_is_the_same_in_each_round_of_the_kubelets_tries() -> None:
    again = f'Back-off pulling image "{IMAGE}": ErrImagePull: {NOT_FOUND}'
    first = found(pod(init=(weights(NOT_FOUND),)), workspace=PRIVATE)
    later = found(pod(init=(weights(again, "ImagePullBackOff"),)), workspace=PRIVATE)
    assert first == later
    assert first.reason is InferenceReason.IMAGE_PULL_ERROR


@pytest.mark.parametrize("answer", [NOT_FOUND, DENIED, UNREACHABLE])
def test_the_answer_is_still_told_when_the_kubelet_only_says_that_it_backs_off(
    answer: str,
) -> None:
    first = found(pod(init=(weights(answer),), since=600), workspace=PRIVATE)
    ready, *_ = conditions(first)
    told = [{"type": ready.type, "status": ready.status, "message": ready.message}]
    silent = weights(f'Back-off pulling image "{IMAGE}"', "ImagePullBackOff")
    later = found(
        pod(init=(silent,), since=600),
        workspace=PRIVATE | {"status": {"conditions": told}},
    )
    assert later == first


def test_a_pull_that_is_denied_is_told_with_the_secret_that_should_help() -> None:
    spec = {"imagePullSecrets": [{"name": "login"}]}
    message = found(pod(init=(weights(DENIED),), spec=spec), workspace=PRIVATE).message
    assert "401 Unauthorized" in message
    assert (
        f"Make sure that Secret login in namespace default holds a login for {HOST}: "
        "kubectl -n default create secret docker-registry login "
        f"--docker-server={HOST} --docker-username=USER --docker-password=PASSWORD"
    ) in message


@pytest.mark.parametrize(
    ("name", "image", "field"),
    [
        ("weights", IMAGE, "inference.preset.presetOptions.imagePullSecrets"),
        ("weights-image", IMAGE, "inference.preset.presetOptions.imagePullSecrets"),
        (
            "adapter-b",
            "b.example.com/b:1",
            "inference.adapters[1].source.imagePullSecrets",
        ),
    ],
)
def test_a_denied_pull_without_a_secret_names_the_field_for_one(
    name: str, image: str, field: str
) -> None:
    denied = weights("403 Forbidden") | {"name": name, "image": image}
    message = found(pod(init=(denied,)), workspace=PRIVATE).message
    assert f"in {field}" in message


def test_a_template_is_corrected_where_its_user_wrote_it() -> None:
    message = found(pod(waiting("ErrImagePull", DENIED)), workspace=template()).message
    assert "(inference.template.spec.containers[0].image)" in message
    assert "in inference.template.spec.imagePullSecrets" in message


@pytest.mark.parametrize("runtime", ["vllm", "transformers"])
def test_an_image_of_the_operators_own_leads_to_its_setting(runtime: str) -> None:
    image = f"ghcr.io/pykaito/{runtime}:1"
    pulled = waiting("ErrImagePull", "not found") | {"image": image}
    made = pod(pulled)
    if runtime == "vllm":
        made["spec"]["containers"][0]["command"] = ["python3", "-m", VLLM]
    message = found(made).message
    assert f"cannot pull {image} for container {NAME}: not found" in message
    assert f"Helm value runtimes.{runtime}.image" in message


def test_a_preset_which_cannot_be_changed_is_not_said_to_be_set() -> None:
    message = found(pod(init=(weights(NOT_FOUND),)), workspace=PRIVATE).message
    assert "delete the Workspace, since its preset cannot be changed" in message


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (UNREACHABLE, f"Check that {HOST} is the right registry and that node gpu-0"),
        ("429 Too Many Requests: toomanyrequests", f"{HOST} limits pulls: wait, or"),
        ("write /var/lib/x: no space left on device", "Free disk space on node gpu-0"),
        ("no match for platform in manifest", "for the architecture of node gpu-0"),
        ("something new", "kubectl -n default describe pod"),
    ],
)
def test_each_answer_has_its_remedy(answer: str, remedy: str) -> None:
    message = found(pod(waiting("ErrImagePull", answer)), workspace=template()).message
    assert remedy in message


def test_docker_hubs_login_is_asked_for_by_its_own_address() -> None:
    denied = waiting("ErrImagePull", "pull access denied") | {"image": "acme/model"}
    message = found(pod(denied), workspace=template()).message
    assert "--docker-server=https://index.docker.io/v1/" in message


def test_a_name_that_is_no_image_stalls_at_once() -> None:
    invalid = waiting("InvalidImageName", INVALID) | {"image": "Bad/UPPER:1"}
    diagnosis = found(pod(invalid, since=1), workspace=template())
    assert diagnosis.stalled
    assert "repository name (UPPER) must be lowercase" in diagnosis.message


@pytest.mark.parametrize("answer", [DENIED, NOT_FOUND])
def test_what_a_registry_refuses_stalls_after_five_minutes(answer: str) -> None:
    pulled = waiting("ImagePullBackOff", answer)
    assert not found(pod(pulled, since=299)).stalled
    assert found(pod(pulled, since=300)).stalled


@pytest.mark.parametrize("answer", [UNREACHABLE, "429 Too Many Requests", "odd"])
def test_what_may_pass_never_stalls(answer: str) -> None:
    diagnosis = found(pod(waiting("ImagePullBackOff", answer), since=9000))
    assert not diagnosis.stalled
    assert diagnosis.look_again is None


def test_the_time_that_the_image_before_took_is_not_counted() -> None:
    first = weights("") | {
        "state": {
            "terminated": {"exitCode": 0, "finishedAt": "2026-01-01T11:59:00Z"},
        }
    }
    second = weights(DENIED) | {"name": "adapter-a", "image": "a.example.com/a:1"}
    diagnosis = found(pod(init=(first, second), since=9000), workspace=PRIVATE)
    assert not diagnosis.stalled
    assert diagnosis.look_again == 240
