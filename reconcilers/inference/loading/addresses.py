"""Which pods are asked how far they are, and where: pure."""

from ipaddress import IPv4Address, ip_address

from pykaito.operator.objects import Object, name
from pykaito.reconcilers.inference.manifests.services import SERVER_PORT


def address(pod: Object, workspace: Object | None) -> str | None:
    """Return where to ask a pod's model server, None if it is not to be asked.

    It is while its container runs and has not passed its startup probe. Not asked are
    pods of a user's own template, which may serve anything, and addresses that are a
    node's rather than a pod's.

    Args:
        pod: it has the Workspace's label.
        workspace: the one of that name, if there is one.
    """
    inference = (workspace or {}).get("inference") or {}
    if workspace is None or inference.get("template") or not inference.get("preset"):
        return None
    if pod["metadata"].get("deletionTimestamp") or pod["spec"].get("hostNetwork"):
        return None
    return _url(pod) if _is_loading(pod, name(workspace)) else None


def _is_loading(pod: Object, server: str) -> bool:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(
        container["name"] == server
        and "running" in (container.get("state") or {})
        and not container.get("started")
        and not container.get("ready")
        for container in containers
    )


def _url(pod: Object) -> str | None:
    try:
        ip = ip_address((pod.get("status") or {}).get("podIP") or "")
    except ValueError:
        return None
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return None
    if isinstance(ip, IPv4Address):
        return f"http://{ip}:{SERVER_PORT}/health"
    # An IPv4 address in another dress would pass for none of the above.
    if ip.ipv4_mapped or ip.scope_id:
        return None
    return f"http://[{ip}]:{SERVER_PORT}/health"
