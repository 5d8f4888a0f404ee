import os
import tempfile
from pathlib import Path

import pytest

from pykaito.runtime.hf.environment import available_cpus, prepare_environment


def prepared(*, remote: bool = False, **before: str) -> dict[str, str]:
    environ = dict(before)
    prepare_environment(environ, allow_remote_files=remote, threads=3)
    return environ


def test_nothing_is_written_outside_the_temporary_folder() -> None:
    environ = prepared()
    for name in ("HF_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert environ[name].startswith(f"{tempfile.gettempdir()}/")


def test_what_is_kept_goes_where_the_pod_has_a_cache() -> None:
    environ = prepared(KAITO_CACHE_DIR="/cache")
    assert environ["HF_HOME"] == "/cache/huggingface"
    assert environ["TORCHINDUCTOR_CACHE_DIR"] == "/cache/torchinductor"


def test_the_hub_is_asked_only_if_remote_files_are_allowed() -> None:
    assert prepared()["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in prepared(remote=True)


def test_nothing_is_reported_to_anyone() -> None:
    assert prepared()["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_what_a_user_has_set_stays() -> None:
    assert prepared(HF_HOME="/models", OMP_NUM_THREADS="1")["HF_HOME"] == "/models"
    assert prepared(OMP_NUM_THREADS="1")["OMP_NUM_THREADS"] == "1"


def test_the_one_thread_of_accelerate_launch_is_not_a_users_wish() -> None:
    launched = prepared(OMP_NUM_THREADS="1", ACCELERATE_DYNAMO_BACKEND="no")
    assert launched["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1)],
)
def test_threads_follow_the_containers_cpu_limit(
    tmp_path: Path, limit: str, cpus: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    everything = len(os.sched_getaffinity(0))
    assert available_cpus(tmp_path) == (everything if cpus is None else cpus)


def test_the_limit_of_an_older_kernel_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path) == 1
