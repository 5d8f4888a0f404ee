"""Every version that objects go through, in the order and at the time they came."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hack import paths

PATHS = {
    "workspaces": "/apis/kaito.sh/v1beta1/namespaces/{}/workspaces",
    "events": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    "configmaps": "/api/v1/namespaces/{}/configmaps",
    "machines": "/apis/kaito.sh/v1alpha1/namespaces/{}/machines",
    # Of no namespace.
    "nodeclaims": "/apis/karpenter.sh/v1/nodeclaims",
    "pods": "/api/v1/namespaces/{}/pods",
}

#: Until told to stop; of its own the API server ends a watch after half an hour.
WATCH = "watch=1&timeoutSeconds=86400"

Object = dict[str, Any]


class Recording:
    """Watches kinds of a namespace from the moment on that it is entered.

    A watch begins at the version at which that was, so no later one is missed.
    """

    def __init__(self, kubeconfig: Path, namespace: str, kinds: Sequence[str]) -> None:
        self._kubectl = [paths.kubectl(), "--kubeconfig", str(kubeconfig)]
        self._paths = {kind: PATHS[kind].format(namespace) for kind in kinds}
        self._versions: dict[str, list[tuple[float, Object]]] = {k: [] for k in kinds}
        self._news = threading.Condition()
        self._watches: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Begin to watch."""
        for kind, path in self._paths.items():
            get = [*self._kubectl, "get", "--raw"]
            listed = subprocess.run(
                [*get, path], check=True, capture_output=True, timeout=60
            )
            version = json.loads(listed.stdout)["metadata"]["resourceVersion"]
            watch = subprocess.Popen(
                [*get, f"{path}?{WATCH}&resourceVersion={version}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            reader = threading.Thread(target=self._read, args=(kind, watch))
            reader.start()
            self._watches.append(watch)
            self._readers.append(reader)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        for watch in self._watches:
            watch.terminate()
            watch.wait()
        for reader in self._readers:
            reader.join()

    def versions(self, kind: str) -> list[Object]:
        """Return all versions so far of all objects of a kind."""
        with self._news:
            return [version for _, version in self._versions[kind]]

    def first(
        self, kind: str, matches: Callable[[Object], bool], *, within: float
    ) -> tuple[float, Object]:
        """Return the first version that matches, and when it came, once it is there.

        Raises:
            AssertionError: none came in so many seconds.
        """
        deadline = time.monotonic() + within
        seen = 0
        with self._news:
            while True:
                versions = self._versions[kind]
                for at, version in versions[seen:]:
                    if matches(version):
                        return at, version
                seen = len(versions)
                left = deadline - time.monotonic()
                assert left > 0, f"none of {seen} versions of {kind} in {within:.0f} s"
                self._news.wait(left)

    def _read(self, kind: str, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            if not line.endswith("\n"):
                # kubectl was stopped in the middle of it.
                break
            event = json.loads(line)
            if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
                continue
            with self._news:
                self._versions[kind].append((time.monotonic(), event["object"]))
                self._news.notify_all()
