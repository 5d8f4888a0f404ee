"""The types and reasons of conditions.

Types and reasons of the original are kept letter for letter, whatever their
case, because dashboards and scripts match on them. Reasons are words for
programs; the sentence for people goes into the condition's message.
"""

from enum import StrEnum


class WorkspaceCondition(StrEnum):
    """What is observed about a Workspace."""

    RESOURCE_READY = "ResourceReady"
    """Every node that the Workspace needs is there, Ready, with its GPUs."""

    NODE_CLAIM_READY = "NodeClaimReady"
    """Every Machine has been given a node; absent with prepared nodes."""

    NODES_READY = "NodesReady"
    """Every node is Ready and its GPUs are allocatable."""

    MODEL_MIRROR_READY = "ModelMirrorReady"
    """The weights lie where they are streamed from; only when streaming."""

    INFERENCE_READY = "InferenceReady"
    """The model server answers."""

    INFERENCE_STALLED = "InferenceStalled"
    """Only a person can bring up the model server; absent otherwise."""

    BENCHMARK_COMPLETED = "BenchmarkCompleted"
    """The throughput of the model server has been measured."""

    JOB_STARTED = "JobStarted"
    """The tuning job runs, or has run."""

    WORKSPACE_SUCCEEDED = "WorkspaceSucceeded"
    """The Workspace does, or has done, what it was made for."""

    WORKSPACE_DELETING = "WorkspaceDeleting"
    """The Workspace is going away and gives back what it holds."""

    READY = "Ready"
    """The Workspace serves or has tuned its model, as specified now."""

    RECONCILING = "Reconciling"
    """The operator is at work towards the spec; absent at rest."""

    STALLED = "Stalled"
    """The spec cannot be reached without a person; absent otherwise."""


class MachineCondition(StrEnum):
    """What is observed about a Machine, in Karpenter's words."""

    LAUNCHED = "Launched"
    """The provisioner has an instance for the Machine."""

    REGISTERED = "Registered"
    """The instance has joined the cluster as a Node."""

    INITIALIZED = "Initialized"
    """The Node is Ready, carries the labels and offers the resources."""

    READY = "Ready"
    """All of the above."""

    RECONCILING = "Reconciling"
    """The operator is at work towards the spec; absent at rest."""

    STALLED = "Stalled"
    """No node can be had without a person; absent otherwise."""


class NodeReason(StrEnum):
    """Reasons of NodeClaimReady, NodesReady and ResourceReady."""

    RESOURCE_SUCCESS = "workspaceResourceStatusSuccess"
    RESOURCE_NOT_READY = "workspaceResourceStatusNotReady"
    NODE_CLAIMS_READY = "NodeClaimsReady"
    NODE_CLAIM_NOT_READY = "NodeClaimNotReady"
    NODES_READY = "NodesReady"
    NODE_NOT_READY = "NodeNotReady"
    NODE_PLUGINS_NOT_READY = "NodePluginsNotReady"
    MODEL_MIRROR_READY = "ModelMirrorReady"
    MODEL_MIRROR_PENDING = "ModelMirrorPending"
    MODEL_MIRROR_NOT_READY = "ModelMirrorNotReady"


class WithheldReason(StrEnum):
    """Reasons of ResourceReady for nodes that the operator does not make, or keep."""

    MACHINE_LIMIT_REACHED = "MachineLimitReached"
    WORKSPACE_MACHINE_LIMIT_EXCEEDED = "WorkspaceMachineLimitExceeded"
    NODES_RELEASED = "NodesReleased"


class InferenceReason(StrEnum):
    """Reasons of InferenceReady and BenchmarkCompleted."""

    SUCCESS = "WorkspaceInferenceStatusSuccess"
    PENDING = "WorkspaceInferenceStatusPending"
    CONTAINER_OOM_KILLED = "ContainerOOMKilled"
    IMAGE_PULL_ERROR = "ImagePullError"
    CONTAINER_START_ERROR = "ContainerStartError"
    CONTAINER_CRASH_LOOP_BACK_OFF = "ContainerCrashLoopBackOff"
    POD_EVICTED = "PodEvicted"
    NODE_DISK_PRESSURE = "NodeDiskPressure"
    NODE_MEMORY_PRESSURE = "NodeMemoryPressure"
    UNSCHEDULABLE = "Unschedulable"
    SAS_TOKEN_FETCH_FAILED = "SASTokenFetchFailed"  # noqa: S105 - a reason, no secret
    STREAMING_STORAGE_CLASS_NOT_FOUND = "ModelStreamingStorageClassNotFound"
    STREAMING_INVALID_STORAGE_CLASS = "ModelStreamingInvalidStorageClass"
    STREAMING_SERVICE_ACCOUNT_INVALID = "ModelStreamingServiceAccountInvalid"
    STREAMING_INVALID_ANNOTATIONS = "ModelStreamingInvalidAnnotations"
    MODEL_MIRROR_CREATE_FAILED = "ModelMirrorCreateFailed"
    BENCHMARK_COMPLETED = "BenchmarkCompleted"
    BENCHMARK_FAILED = "BenchmarkFailed"


class TuningReason(StrEnum):
    """Reasons of JobStarted."""

    STARTED = "WorkspaceTuningJobStatusStarted"
    PENDING = "WorkspaceTuningJobStatusPending"
    FAILED = "WorkspaceTuningJobStatusFailed"


class WorkspaceReason(StrEnum):
    """Reasons of WorkspaceSucceeded and WorkspaceDeleting."""

    SUCCEEDED = "workspaceSucceeded"
    PENDING = "workspacePending"
    FAILED = "workspaceFailed"
    DELETED = "workspaceDeleted"
