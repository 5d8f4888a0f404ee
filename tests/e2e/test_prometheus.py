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
from tests.e2e.workspaces import port_forward


@pytest.fixture
def prometheus(tmp_path: Path, kubeconfig: Path, operator: str) -> Iterator[str]:
    """A Prometheus that scrapes the operator's metrics Service."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("waits for Prometheus: apt-get install prometheus")
    service = "service/pykaito-metrics"
    with port_forward(kubeconfig, operator, service, 8080) as address:
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [
                {
                    "job_name": "pykaito",
                    "static_configs": [{"targets": [address.removeprefix("http://")]}],
                }
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [binary, f"--config.file={tmp_path}/prometheus.yml"]
        command += [f"--storage.tsdb.path={tmp_path}/data"]
        command += ["--web.listen-address=127.0.0.1:0"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield listening(tmp_path / "log")
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
def query(prometheus: str, expression: str) -> float:
    """Return the value of an expression once it has one."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression})
    return float(answer.raise_for_status().json()["data"]["result"][0]["value"][1])


def test_reconciles_and_leadership_reach_prometheus(prometheus: str) -> None:
    assert query(prometheus, 'up{job="pykaito"}') == 1
    assert query(prometheus, "sum(leader_election_master_status)") == 1
    assert query(prometheus, "count(controller_runtime_reconcile_total)") > 0
    assert query(prometheus, "count(workqueue_depth)") > 0
    assert query(prometheus, "count(kaito_workspace_count)") == len(PHASES)
    assert query(prometheus, "sum(rest_client_requests_total)") > 0
