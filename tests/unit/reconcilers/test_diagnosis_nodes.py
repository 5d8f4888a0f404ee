"""A pod that no node takes, or that a node pushes out, is told with a remedy."""

from typing import Any

import pytest

from pykaito.api.conditions import InferenceReason
from pykaito.reconcilers.inference.manifests import affinity
from tests.unit.reconcilers.kubelet import (
    IMAGE,
    NAME,
    POD,
    condition,
    found,
    pod,
    template,
)

TOO_FEW = (
    "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match "
    "Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes "
    "are available: 2 Preemption is not helpful for scheduling."
)
POD_LIMIT = (
    "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
)


def unplaced(message: str) -> dict[str, Any]:
    limits = {"limits": {"nvidia.com/gpu": "4"}}
    container = {"name": NAME, "image": IMAGE, "resources": limits}
    return pod(
        spec={"affinity": affinity(["gpu-0"]), "containers": [container]},
        conditions=[condition("PodScheduled", "False") | {"message": message}],
    )


def test_what_is_short_is_told_with_how_much_is_asked_for() -> None:
    diagnosis = found(unplaced(TOO_FEW))
    assert diagnosis.reason is InferenceReason.UNSCHEDULABLE
    assert diagnosis.message == (
        f"pod {POD} fits no node: 0/2 nodes are available: 1 Insufficient "
        "nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity/selector; the pod "
        "asks for 4 nvidia.com/gpu. Free it on node gpu-0, or let the Workspace use "
        "another; who uses it: kubectl get pods -A -o wide --field-selector "
        "spec.nodeName=gpu-0"
    )
    assert not diagnosis.stalled


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            '0/2 nodes are available: persistentvolumeclaim "w" not found. not found',
            "Create PersistentVolumeClaim w in namespace default",
        ),
        (
            "0/2 nodes are available: 1 node(s) had untolerated taint {team: ml}.",
            "kubectl taint node NODE team-",
        ),
        (
            "1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
            "Mend the node: kubectl describe node gpu-0",
        ),
        ("0/2 nodes are available: something else.", "these nodes alone: gpu-0"),
    ],
)
def test_each_obstacle_has_its_remedy(message: str, remedy: str) -> None:
    assert remedy in found(unplaced(message)).message


def test_a_pod_that_the_kubelet_turns_away_is_told_in_its_words() -> None:
    words = (
        "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, "
        "requested: 9, used: 0, capacity: 8"
    )
    rejected = pod(phase="Failed", reason="OutOfnvidia.com/gpu", message=words)
    diagnosis = found(rejected)
    assert diagnosis.reason is InferenceReason.UNSCHEDULABLE
    assert words in diagnosis.message


@pytest.mark.parametrize(
    ("message", "reason", "remedy"),
    [
        (
            "The node was low on resource: ephemeral-storage. Threshold: 1Gi. ",
            InferenceReason.NODE_DISK_PRESSURE,
            "Free disk space on node gpu-0",
        ),
        (
            "The node had condition: [DiskPressure]. ",
            InferenceReason.NODE_DISK_PRESSURE,
            "kubectl describe node gpu-0",
        ),
        (
            "The node was low on resource: memory. ",
            InferenceReason.NODE_MEMORY_PRESSURE,
            "use a node with more memory",
        ),
        (
            "The node was low on resource: pids. ",
            InferenceReason.POD_EVICTED,
            "Relieve node gpu-0",
        ),
        (
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
            InferenceReason.POD_EVICTED,
            "sizeLimit of volume v in inference.template.spec",
        ),
        (
            POD_LIMIT,
            InferenceReason.POD_EVICTED,
            "limits.ephemeral-storage in inference.template.spec",
        ),
        (
            'Container c exceeded its local ephemeral storage limit "1Mi". ',
            InferenceReason.POD_EVICTED,
            "limits.ephemeral-storage in inference.template.spec",
        ),
    ],
)
def test_an_eviction_says_whose_limit_it_was(
    message: str, reason: str, remedy: str
) -> None:
    evicted = pod(phase="Failed", reason="Evicted", message=message)
    diagnosis = found(evicted, workspace=template())
    assert diagnosis.reason == reason
    assert message.strip().rstrip(".") in diagnosis.message
    assert remedy in diagnosis.message
