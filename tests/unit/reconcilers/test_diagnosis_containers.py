"""A container that does not start, or ends, is told with cause and remedy."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    POD,
    ago,
    condition,
    crashed,
    ended,
    found,
    pod,
    running,
    template,
    waiting,
)
from tests.unit.reconcilers.workspaces import raw_workspace

NO_COMMAND = (
    "failed to create containerd task: failed to create shim task: OCI runtime create "
    "failed: runc create failed: unable to start container process: exec: "
    '"nosuchcmd": executable file not found in $PATH: unknown'
)
LAUNCHED = """\
Traceback (most recent call last):
  File "inference_api.py", line 7, in <module>
ValueError: no config.json in /workspace/weights
Traceback (most recent call last):
  File "accelerate", line 8, in <module>
subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.
"""
OOM = ended(137, reason="OOMKilled")


def spec(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": NAME, "image": IMAGE, **container}]}


def variable(kind: str, name: str, key: str) -> dict[str, Any]:
    return {"name": key, "valueFrom": {kind: {"name": name, "key": key}}}


def unconfigured(message: str, **more: Any) -> dict[str, Any]:
    return pod(waiting("CreateContainerConfigError", message), **more)


def test_a_missing_secret_is_told_with_the_command_that_creates_it() -> None:
    env = [variable("secretKeyRef", "hf", "HF_TOKEN")]
    options = {"modelAccessSecret": "hf"}
    gated = raw_workspace(
        inference={"preset": {"name": "llama-3.1-8b", "presetOptions": options}}
    )
    diagnosis = found(
        unconfigured('secret "hf" not found', spec=spec(env=env)), workspace=gated
    )
    assert diagnosis.reason is InferenceReason.CONTAINER_START_ERROR
    assert diagnosis.message == (
        f"container {NAME} of pod {POD} cannot start: Secret hf "
        "(inference.preset.presetOptions.modelAccessSecret) does not exist in "
        "namespace default. Create it: kubectl -n default create secret generic hf "
        "--from-literal=HF_TOKEN=VALUE"
    )


def test_a_missing_config_map_is_told_with_the_command_that_creates_it() -> None:
    diagnosis = found(unconfigured('configmap "settings" not found'))
    assert diagnosis.message.endswith(
        "create configmap settings --from-literal=KEY=VALUE"
    )


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("Secret", """patch secret x -p '{"stringData":{"k":"VALUE"}}'"""),
        ("ConfigMap", """patch configmap x -p '{"data":{"k":"VALUE"}}'"""),
    ],
)
def test_a_missing_key_is_told_with_the_command_that_adds_it(
    kind: str, command: str
) -> None:
    message = found(unconfigured(f"couldn't find key k in {kind} default/x")).message
    assert f"{kind} x has no key k in namespace default" in message
    assert message.endswith(f"kubectl -n default {command}")


def test_what_somebody_may_yet_create_stalls_after_five_minutes() -> None:
    assert not found(unconfigured('secret "hf" not found', since=299)).stalled
    assert found(unconfigured('secret "hf" not found', since=300)).stalled


UNSYNCED = "failed to sync secret cache: timed out waiting for the condition"


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("CreateContainerConfigError", UNSYNCED),
        ("CreateContainerConfigError", 'object "default"/"hf" not registered'),
        ("CreateContainerError", "context deadline exceeded"),
        (
            "CreateContainerError",
            'failed to reserve container name: is reserved for "x"',
        ),
        ("RunContainerError", "rpc error: code = DeadlineExceeded desc = stream"),
    ],
)
def test_what_a_busy_node_gets_over_by_itself_is_no_failure_for_five_minutes(
    reason: str, message: str
) -> None:
    early = found(pod(waiting(reason, message), since=299))
    assert (early.reason, early.progressing) == (InferenceReason.PENDING, True)
    assert early.look_again == 1
    assert message in early.message
    late = found(pod(waiting(reason, message), since=300))
    assert late.reason is InferenceReason.CONTAINER_START_ERROR
    assert late.message.endswith("kubectl describe node gpu-0")
    assert not late.stalled


@pytest.mark.parametrize("last", [ended(1, "no config.json"), OOM])
def test_a_crash_is_told_on_while_the_node_is_slow_to_start_the_next_one(
    last: dict[str, Any],
) -> None:
    slow = waiting("CreateContainerError", UNSYNCED, lastState=last, restartCount=2)
    assert found(pod(slow)) == found(pod(crashed(last) | {"restartCount": 2}))


def test_a_command_that_does_not_exist_is_told_on_while_the_node_is_slow() -> None:
    end = ended(128, NO_COMMAND, reason="StartError")
    slow = waiting("CreateContainerError", UNSYNCED, lastState=end, restartCount=1)
    assert found(pod(slow)) == found(pod(crashed(end) | {"restartCount": 1}))


def mounting(seconds: float, **volume: Any) -> dict[str, Any]:
    setting_up = [
        condition("PodScheduled", seconds=seconds),
        condition("PodReadyToStartContainers", "False", seconds=seconds),
    ]
    return pod(
        waiting("ContainerCreating"),
        conditions=setting_up,
        podIP="",
        spec={"volumes": [{"name": "v", **volume}]},
    )


def test_what_a_pod_mounts_is_named_when_it_has_waited_for_it_too_long() -> None:
    early = found(mounting(4, configMap={"name": "x"}))
    assert (early.progressing, early.look_again) == (True, 6)
    late = found(mounting(10, configMap={"name": "x"}))
    assert late.reason is InferenceReason.CONTAINER_START_ERROR
    assert "ConfigMap x" in late.message
    assert "kubectl -n default get configmap/x" in late.message
    assert found(mounting(300, configMap={"name": "x"})).stalled


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": "x"}},
        {"projected": {"sources": [{"secret": {"name": "x"}}]}},
    ],
)
def test_secrets_that_are_mounted_are_named_too(volume: dict[str, Any]) -> None:
    assert "Secret x" in found(mounting(10, **volume)).message


TOKEN = {"projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}}


@pytest.mark.parametrize(
    "volume", [{"configMap": {"name": "x", "optional": True}}, {"emptyDir": {}}, TOKEN]
)
def test_a_pod_that_mounts_nothing_which_may_be_missing_is_let_be(
    volume: dict[str, Any],
) -> None:
    assert found(mounting(60, **volume)).progressing


def test_a_command_that_does_not_exist_is_told_the_same_in_each_round() -> None:
    end = ended(128, NO_COMMAND, reason="StartError")
    rounds = [
        waiting("RunContainerError", NO_COMMAND, lastState=end, restartCount=1),
        crashed(end),
        waiting("", state=end),
    ]
    told = {found(pod(container), workspace=template()).message for container in rounds}
    assert len(told) == 1
    assert told.pop() == (
        f"container {NAME} of pod {POD} cannot start: exec: "
        '"nosuchcmd": executable file not found in $PATH. Correct '
        "inference.template.spec.containers[0]"
    )


def test_an_edited_command_can_be_given_back() -> None:
    diagnosis = found(pod(waiting("RunContainerError", NO_COMMAND)))
    assert diagnosis.message.endswith(f"kubectl -n default delete deployment {NAME}")


def test_a_crash_loop_is_told_with_the_last_words() -> None:
    diagnosis = found(pod(crashed(ended(1, "loading\nno config.json\n"))))
    assert diagnosis.reason is InferenceReason.CONTAINER_CRASH_LOOP_BACK_OFF
    assert diagnosis.message == (
        f"container {NAME} of pod {POD} ended with exit code 1 (restarts: 2): no "
        f"config.json. Its log says more: kubectl -n default logs {POD} -c {NAME} -p"
    )


def test_the_error_is_told_and_not_the_launchers_about_it() -> None:
    message = found(pod(crashed(ended(1, LAUNCHED)))).message
    assert (
        "(restarts: 2): ValueError: no config.json in /workspace/weights. " in message
    )


def test_a_crash_without_last_words_leads_to_the_log() -> None:
    message = found(pod(crashed(ended(1)))).message
    assert "ended with exit code 1 (restarts: 2). Its log says more: " in message


def test_an_adapter_without_files_is_named_with_its_field() -> None:
    image = "registry.example.com/adapters/law:2"
    workspace = raw_workspace(
        inference={
            "preset": {"name": "falcon-7b"},
            "adapters": [{"source": {"name": "law", "image": image}}],
        }
    )
    words = "no adapter_config.json in /data of this image\n"
    failed = crashed(ended(1, words)) | {"name": "adapter-law", "image": image}
    message = found(
        pod(waiting("PodInitializing"), init=(failed,)), workspace=workspace
    ).message
    assert f"which runs {image} (inference.adapters[0].source.image), ended" in message
    assert "no adapter_config.json in /data of this image. Put" in message
    assert "weights of adapter law under /data of the image" in message


def test_a_gpu_that_is_too_small_is_told_with_what_makes_the_model_smaller() -> None:
    words = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert "Lower vllm.max-model-len" in found(pod(crashed(ended(1, words)))).message


def test_a_container_that_crashed_and_runs_again_is_told_as_before() -> None:
    again = running(lastState=ended(1, "no config.json"), restartCount=2)
    waits = crashed(ended(1, "no config.json"))
    assert found(pod(again)) == found(pod(waits))


def test_a_container_that_has_recovered_is_not_told_as_crashed() -> None:
    fine = {"state": {"terminated": {"exitCode": 0}}, "ready": True}
    init = running("weights") | fine | {"lastState": ended(1)}
    assert found(pod(init=(init,))).progressing


def test_out_of_memory_is_told_rather_than_the_crash_loop_it_causes() -> None:
    diagnosis = found(pod(crashed(OOM)))
    assert diagnosis.reason is InferenceReason.CONTAINER_OOM_KILLED
    assert "needs more memory than node gpu-0 has left" in diagnosis.message
    assert "describe node gpu-0" in diagnosis.message


def test_a_memory_limit_is_told_with_how_to_raise_it() -> None:
    limited = spec(resources={"limits": {"memory": "2Gi"}})
    preset = found(pod(crashed(OOM), spec=limited)).message
    assert "than its limit of 2Gi" in preset
    assert f"set resources deployment {NAME} -c {NAME} --requests=memory=MORE" in preset
    own = found(pod(crashed(OOM), spec=limited), workspace=template()).message
    assert own.endswith(
        "Raise inference.template.spec.containers[0].resources.limits.memory"
    )


@pytest.mark.parametrize("last", [ended(1), OOM])
def test_a_container_stalls_after_its_fifth_restart(last: dict[str, Any]) -> None:
    assert not found(pod(crashed(last) | {"restartCount": 4})).stalled
    assert found(pod(crashed(last) | {"restartCount": 5})).stalled
    assert found(pod(running(lastState=last, restartCount=5))).stalled


def test_a_server_that_ran_well_for_long_is_given_new_chances() -> None:
    last = ended(1, startedAt=ago(4000), finishedAt=ago(10))
    assert not found(pod(crashed(last) | {"restartCount": 50})).stalled
