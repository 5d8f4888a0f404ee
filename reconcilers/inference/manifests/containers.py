"""What all containers of a model server share."""

from collections.abc import Mapping
from typing import Any

#: The user of the model images.
RUNTIME_UID = 65532

CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

#: A container that ends without last words of its own leaves its log's last lines.
LAST_WORDS = "FallbackToLogsOnError"

TOOLS = "/pykaito-tools"
#: The runtime's own copy of a static shell.
BUSYBOX = "/usr/local/bin/busybox"

#: Copies folders. When a node has been restarted its pods copy anew, and files that
#: their images have read-only are there already: those are replaced, not written to.
COPY = "cp -rf"

_TOOLS_MOUNT = {"name": "tools", "mountPath": TOOLS}


def other_than(main: str, name: str) -> str:
    """Return the name for a container beside the main one, which is the Workspace's."""
    return name if name != main else f"{name}-image"


def copy_tool(runtime_image: str, *, main: str) -> dict[str, Any]:
    """Return the init container that puts a static shell where others find it.

    Images of weights and adapters may be FROM scratch and hold no command at all.
    """
    return {
        "name": other_than(main, "copy-tool"),
        "image": runtime_image,
        "command": [BUSYBOX, "cp", BUSYBOX, f"{TOOLS}/busybox"],
        "terminationMessagePolicy": LAST_WORDS,
        "securityContext": CONFINED,
        "volumeMounts": [_TOOLS_MOUNT],
    }


def copy_from(
    image: str, name: str, script: str, target: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an init container that runs a script in an image of files.

    The image is run itself, so that the kubelet pulls and caches it with the pod's
    pull secrets.

    Args:
        image: holds the files.
        name: the container's.
        script: for the shell at ``TOOLS``; copies the files.
        target: the mount that it copies them to.
    """
    return {
        "name": name,
        "image": image,
        "command": [f"{TOOLS}/busybox", "sh", "-c", script],
        "terminationMessagePolicy": LAST_WORDS,
        "securityContext": CONFINED,
        "volumeMounts": [_TOOLS_MOUNT, target],
    }
