"""The operator's metrics are scraped by a real Prometheus."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from pykaito.reconcilers.metrics import PHASES
from tests.e2e.workspaces import (
    Applied,
    Kubectl,
    example,
    own_namespace,
    port_forward,
)


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
    kubectl: Kubectl,
    kubeconfig: Path,
    operator: str,
) -> Iterator[str]:
    """A Prometheus that scrapes the metrics Service of an operator at work."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("waits for Prometheus: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    service = "service/pykaito-metrics"
    with (
        own_namespace(kubectl, "prometheus") as namespace,
        port_forward(kubeconfig, operator, service, 8080) as address,
    ):
        # An operator that has reconciled nothing yet has no number of it.
        Applied(kubectl, namespace, example("falcon-7b.yaml"))
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "pykaito",
                    "static_configs": [{"targets": [address.removeprefix("http://")]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [binary, f"--config.file={folder}/prometheus.yml"]
        command += [f"--storage.tsdb.path={folder}/data"]
        command += ["--web.listen-address=127.0.0.1:0"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield listening(folder / "log")
            finally:
                process.terminate()
                process.wait(timeout=30)


@retry(
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    retry=retry_if_result(lambda address: not address),
)
def listening(log: Path) -> str:
    """Return the address that Prometheus says it listens on, once it does."""
    found = re.search(r'"Listening on" address=(\S+)', log.read_text())
    return f"http://{found[1]}" if found else ""


@retry(stop=stop_after_delay(60), wait=wait_fixed(1))
def holds(prometheus: str, comparison: str) -> bool:
    """Wait until a comparison holds: Prometheus has no result of it before."""
    query = {"query": comparison}
    answer = httpx.get(f"{prometheus}/api/v1/query", params=query, timeout=30)
    (_,) = answer.raise_for_status().json()["data"]["result"]
    return True


@pytest.mark.parametrize(
    "comparison",
    [
        'up{job="pykaito"} == 1',
        "sum(leader_election_master_status) == 1",
        "count(controller_runtime_reconcile_total) > 0",
        "count(workqueue_depth) > 0",
        f"count(kaito_workspace_count) == {len(PHASES)}",
        "sum(rest_client_requests_total) > 0",
    ],
)
def test_metrics_reach_prometheus(prometheus: str, comparison: str) -> None:
    assert holds(prometheus, comparison)
