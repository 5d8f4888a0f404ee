"""No invalid Workspace is stored, and none that is stored all the same is served."""

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from hack.install import install
from pykaito.api.violation import Violation
from tests.corpus.cases import Case, Object, invalid_workspaces, updates
from tests.e2e.crds.schema_server import DRY, faults, proxy
from tests.e2e.workspaces import Kubectl

pytestmark = pytest.mark.usefixtures("operator")

CONFIGURATION = ("validatingwebhookconfiguration", "pykaito-webhook")

#: Of objects, while the API server and the operator share two cores with all else.
WRITTEN_AT_ONCE = 6

#: In the place of `falcon-7b`, a label's value that nodes of other tests may have.
NOWHERE = "no-node-has-this"


def own_names(number: int, case: Case) -> Case:
    """Return the case with names that no other has, but where a name is the fault."""
    obj, name = copy.deepcopy(case.obj), f"case-{number}"
    if case.path != "metadata.name":
        obj["metadata"]["name"] = name
    if case.beside:
        obj["inference" if "inference" in obj else "tuning"]["config"] = name
    beside = tuple({**config, "metadata": {"name": name}} for config in case.beside)
    return replace(case, obj=obj, beside=beside)


CREATIONS = [own_names(*numbered) for numbered in enumerate(invalid_workspaces())]
UPDATES = [case for case in updates() if case.refused_by and case.is_workspace]
BY_CRD = [case for case in CREATIONS if case.refused_by == "cel"]
BY_WEBHOOK = [case for case in CREATIONS if case.refused_by == "webhook"]


class Namespace:
    """The objects of a namespace, many of them written at once."""

    def __init__(self, http: httpx.Client, name: str) -> None:
        self._http = http
        self._name = name

    def put_configs(self, cases: Iterable[Case]) -> None:
        """Create the ConfigMaps that the cases name."""
        path = f"/api/v1/namespaces/{self._name}/configmaps"
        for config in [config for case in cases for config in case.beside]:
            self._http.post(path, json=config).raise_for_status()

    def create(
        self, objects: Sequence[Object], *, dry: bool = False
    ) -> list[list[Violation]]:
        """Create Workspaces; return what is said against each."""

        def one(obj: Object) -> list[Violation]:
            params = DRY if dry else {}
            return faults(self._http.post(self._workspaces, params=params, json=obj))

        with ThreadPoolExecutor(WRITTEN_AT_ONCE) as pool:
            return list(pool.map(one, objects))

    def try_changes(
        self, pairs: Sequence[tuple[Object, Object]]
    ) -> list[list[Violation]]:
        """Try to turn stored Workspaces into others; return what is said of each."""

        def one(pair: tuple[Object, Object]) -> list[Violation]:
            old, new = pair
            where = f"{self._workspaces}/{old['metadata']['name']}"
            # A whole object would need the resource version, which changes with the
            # status that the operator writes meanwhile.
            return faults(
                self._http.patch(
                    where,
                    params=DRY,
                    content=json.dumps(differences(old, new)),
                    headers={"Content-Type": "application/json-patch+json"},
                )
            )

        with ThreadPoolExecutor(WRITTEN_AT_ONCE) as pool:
            return list(pool.map(one, pairs))

    def workspaces(self) -> list[Object]:
        """Return the Workspaces that are stored."""
        return self._list(self._workspaces)

    def children(self) -> list[str]:
        """Return what was made for Workspaces, by kind and name."""
        found = []
        for api, plural in (
            ("apis/kaito.sh/v1alpha1", "machines"),
            ("apis/apps/v1", "deployments"),
            ("api/v1", "services"),
            ("api/v1", "pods"),
        ):
            listed = self._list(f"/{api}/namespaces/{self._name}/{plural}")
            found += [f"{plural}/{obj['metadata']['name']}" for obj in listed]
        return found

    @property
    def _workspaces(self) -> str:
        return f"/apis/kaito.sh/v1beta1/namespaces/{self._name}/workspaces"

    def _list(self, path: str) -> list[Object]:
        items: list[Object] = self._http.get(path).raise_for_status().json()["items"]
        return items


def differences(old: Object, new: Object) -> list[dict[str, Any]]:
    """Return the JSON patch that puts another spec in a Workspace."""
    parts = [part for part in ("resource", "inference", "tuning") if part in old | new]
    return [
        {"op": "add", "path": f"/{part}", "value": new[part]}
        if part in new
        else {"op": "remove", "path": f"/{part}"}
        for part in parts
    ]


@pytest.fixture
def here(kubeconfig: Path, namespace: str) -> Iterator[Namespace]:
    with (
        proxy(kubeconfig) as address,
        httpx.Client(base_url=address, timeout=30) as http,
    ):
        yield Namespace(http, namespace)


@retry(
    stop=stop_after_delay(30),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda reached: not reached),
)
def wait_checked(here: Namespace, *, checked: bool) -> bool:
    """Wait until the API server asks the webhook, or until it asks no more."""
    probe = next(case for case in BY_WEBHOOK if not case.beside)
    return any(here.create([probe.obj], dry=True)) is checked


def misjudged(
    cases: Sequence[Case], said: Sequence[Sequence[Violation]]
) -> dict[str, Sequence[Violation]]:
    """Return the cases of which the field and the sentence were not said."""
    return {
        case.name: found
        for case, found in zip(cases, said, strict=True)
        if not any(
            fault.path == case.path and case.message in fault.message for fault in found
        )
    }


def test_each_invalid_workspace_is_refused_with_path_and_remedy(
    here: Namespace,
) -> None:
    here.put_configs(CREATIONS)
    wait_checked(here, checked=True)
    said = here.create([case.obj for case in CREATIONS], dry=True)
    assert misjudged(CREATIONS, said) == {}
    assert len(CREATIONS) >= 150
    print(f"{len(CREATIONS)} invalid Workspaces refused")  # noqa: T201 - how many is worth a line


def test_each_invalid_change_is_refused_with_path_and_remedy(here: Namespace) -> None:
    pairs = [
        (out_of_reach(number, case.old or {}), out_of_reach(number, case.obj))
        for number, case in enumerate(UPDATES)
    ]
    assert not any(here.create([old for old, _ in pairs]))
    assert misjudged(UPDATES, here.try_changes(pairs)) == {}
    assert here.children() == []
    print(f"{len(UPDATES)} invalid changes refused")  # noqa: T201 - how many is worth a line


def out_of_reach(number: int, obj: Object) -> Object:
    """Return the Workspace with a name of its own, and a selector of no node.

    Its old self has to be stored, so that the model's size is no fault of it.
    """
    selector = json.dumps(obj["resource"]["labelSelector"])
    nowhere = json.loads(selector.replace("falcon-7b", NOWHERE))
    resource = {**obj["resource"], "labelSelector": nowhere}
    metadata = {
        "name": f"change-{number}",
        "annotations": {"kaito.sh/bypass-resource-checks": "true"},
    }
    return {**obj, "metadata": metadata, "resource": resource}


@pytest.mark.serial
def test_without_the_webhook_none_is_served_and_each_is_told_the_same(
    kubectl: Kubectl,
    operator: str,
    kubeconfig: Path,
    images: dict[str, str],
    here: Namespace,
) -> None:
    here.put_configs(CREATIONS)
    wait_checked(here, checked=True)
    objects = [case.obj for case in BY_WEBHOOK]
    refusals = here.create(objects, dry=True)
    before = restarts(kubectl, operator)
    with webhook_away(kubectl, kubeconfig, images):
        wait_checked(here, checked=False)
        said = here.create([case.obj for case in BY_CRD])
        assert misjudged(BY_CRD, said) == {}
        assert not any(here.create(objects))
        told = wait_given_up(here)
        untold = {}
        for case, refusal in zip(BY_WEBHOOK, refusals, strict=True):
            messages = told.get(case.obj["metadata"]["name"], [])
            sentence = next(str(fault) for fault in refusal if fault.path == case.path)
            if not messages or any(sentence not in message for message in messages):
                untold[case.name] = (sentence, messages)
        assert untold == {}
        assert here.children() == []
        assert restarts(kubectl, operator) == before
    wait_checked(here, checked=True)
    print(f"{len(objects)} stored Workspaces stopped, {len(BY_CRD)} refused")  # noqa: T201 - how many is worth a line


@contextmanager
def webhook_away(
    kubectl: Kubectl, kubeconfig: Path, images: dict[str, str]
) -> Iterator[None]:
    """Let nobody but the CRDs judge for a while."""
    kubectl("delete", *CONFIGURATION)
    try:
        yield
    finally:
        install(kubeconfig, images)


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(1),
    retry=retry_if_result(lambda told: len(told) < len(BY_WEBHOOK)),
    retry_error_callback=lambda state: state.outcome and state.outcome.result(),
)
def wait_given_up(here: Namespace) -> dict[str, list[str]]:
    """Wait until both reconcilers gave up each Workspace; return what they say."""
    found = {obj["metadata"]["name"]: given_up(obj) for obj in here.workspaces()}
    return {name: messages for name, messages in found.items() if messages}


def given_up(obj: Object) -> list[str]:
    """Return why a Workspace is not served, as two conditions say; none if not yet."""
    by_type = {c["type"]: c for c in obj.get("status", {}).get("conditions", ())}
    result = "InferenceReady" if "inference" in obj else "JobStarted"
    wanted = {"Stalled": "True", result: "False"}
    if any(by_type.get(t, {}).get("status") != s for t, s in wanted.items()):
        return []
    return [by_type[kind]["message"] for kind in wanted]


def restarts(kubectl: Kubectl, operator: str) -> dict[str, int]:
    """Return how often each pod of the operator began anew, but for one that ends."""
    selector = "app.kubernetes.io/name=pykaito"
    found = kubectl("-n", operator, "get", "pods", "-l", selector, "-o", "json").stdout
    return {
        pod["metadata"]["name"]: sum(
            container["restartCount"]
            for container in pod["status"]["containerStatuses"]
        )
        for pod in json.loads(found)["items"]
        if "deletionTimestamp" not in pod["metadata"]
    }
