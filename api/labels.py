"""Label and annotation keys, and the names that other tools look up."""

# Labels of what a Workspace owns: pods, Machines, nodes made for it.
WORKSPACE = "kaito.sh/workspace"
WORKSPACE_NAMESPACE = "kaito.sh/workspacenamespace"
RAG_ENGINE = "kaito.sh/ragengine"
RAG_ENGINE_NAMESPACE = "kaito.sh/ragenginenamespace"
CREATED_BY_INFERENCE_SET = "inferenceset.kaito.sh/created-by"
CREATED_BY_MULTI_ROLE_INFERENCE = "multiroleinference.kaito.sh/created-by"
INFERENCE_ROLE = "kaito.sh/inference-role"
UPGRADE_TO_VERSION = "kaito.sh/upgrade-to-version"

# Labels of nodes and of Karpenter's objects.
MACHINE = "kaito.sh/machine"
"""On what was made for a Machine, and on its node: the name of the instance."""
ACCELERATOR = "accelerator"
MACHINE_TYPE = "kaito.sh/machine-type"
CREATION_TIMESTAMP = "kaito.sh/creation-timestamp"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
KARPENTER_WORKSPACE_NAME = "karpenter.kaito.sh/workspace-name"
KARPENTER_WORKSPACE_NAMESPACE = "karpenter.kaito.sh/workspace-namespace"
KARPENTER_INFERENCE_SET = "karpenter.kaito.sh/inferenceset"
KARPENTER_INFERENCE_SET_NAMESPACE = "karpenter.kaito.sh/inferenceset-namespace"
KARPENTER_MANAGED_BY = "karpenter.kaito.sh/managed-by"
KARPENTER_DEFAULT = "karpenter.kaito.sh/default"

RESERVED_SELECTOR_KEYS = (
    WORKSPACE,
    WORKSPACE_NAMESPACE,
    RAG_ENGINE,
    RAG_ENGINE_NAMESPACE,
    KARPENTER_WORKSPACE_NAME,
    KARPENTER_WORKSPACE_NAMESPACE,
    KARPENTER_INFERENCE_SET,
    KARPENTER_INFERENCE_SET_NAMESPACE,
)
"""Keys that the operator sets on nodes: ignored in a Workspace's selector."""

# Annotations that a user sets on a Workspace.
ENABLE_LOAD_BALANCER = "kaito.sh/enablelb"
RUNTIME = "kaito.sh/runtime"
USE_ACCELERATOR = "kaito.sh/accelerator"
BYPASS_RESOURCE_CHECKS = "kaito.sh/bypass-resource-checks"
DISABLE_BENCHMARK = "kaito.sh/disable-benchmark"
PERFORMANCE_MODE = "kaito.sh/performance-mode"
USE_LOCAL_WEIGHTS = "kaito.sh/use-local-weights"
MOUNT_WEIGHTS_IMAGE = "kaito.sh/mount-weights-image"
WEIGHTS_CLAIM = "kaito.sh/weights-claim"
CACHE_CLAIM = "kaito.sh/cache-claim"
NODE_IMAGE_FAMILY = "kaito.sh/node-image-family"
NODE_CLASS_NAME = "kaito.sh/node-class-name"
PROVISIONER = "kaito.sh/provisioner"
CAPACITY_TYPE = "kaito.sh/capacity-type"
ZONES = "kaito.sh/zones"
KEEP_NODES = "kaito.sh/keep-nodes"
MODEL_STREAMING = "kaito.sh/model-streaming"
MODEL_MIRROR_STORAGE_CLASS = "kaito.sh/model-mirror-storage-class"
STREAMING_SERVICE_ACCOUNT = "kaito.sh/streaming-service-account"
STREAM_DATA_REFS_URL = "inference.kaito.sh/stream-datarefs-url"
STREAM_IDENTITY_CLIENT_ID = "inference.kaito.sh/stream-identity-client-id"
STREAM_SOURCE_TYPE = "inference.kaito.sh/stream-source-type"
STATIC_MODEL_MIRROR = "inference.kaito.sh/static-model-mirror"

# Annotations and labels that the operator keeps its books in.
MACHINE_NAME = "kaito.sh/machine-name"
"""On what was made for a Machine: namespace/name of that Machine."""
REVISION = "workspace.kaito.io/revision"
REVISION_HASH = "workspace.kaito.io/hash"
REVISION_OWNER_NAME = "workspace.kaito.io/name"
UPGRADE_START_TIME = "kaito.sh/upgrade-start-time"

WORKSPACE_FINALIZER = "workspace.finalizer.kaito.sh"
MACHINE_FINALIZER = "machine.finalizer.kaito.sh"
