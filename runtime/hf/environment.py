"""The process's environment, settled before torch and transformers are imported.

Both read it once, when they are imported. What a user has set stays.
"""

import math
import os
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")

#: Names a folder that outlives the pod, for what is fetched and compiled.
CACHE_VARIABLE = "KAITO_CACHE_DIR"


def prepare_environment(
    environ: MutableMapping[str, str], *, allow_remote_files: bool, threads: int
) -> None:
    """Set what the libraries read.

    Everything they write goes below the temporary folder or the one that
    CACHE_VARIABLE names, since a container's root file system may be read-only;
    nothing is reported to anyone; without ``allow_remote_files`` the hub is not even
    asked whether a file changed.
    """
    scratch = cache_root(environ)
    defaults = {
        "HF_HOME": str(scratch / "huggingface"),
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "torchinductor"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that spin while they wait make a busy machine ten times slower.
        "OMP_WAIT_POLICY": "passive",
    }
    if not allow_remote_files:
        defaults["HF_HUB_OFFLINE"] = "1"
    for name, value in defaults.items():
        environ.setdefault(name, value)
    # `accelerate launch` says 1 whenever the user says nothing.
    launched = "ACCELERATE_DYNAMO_BACKEND" in environ
    given = environ.get("OMP_NUM_THREADS")
    if given is None or (launched and given == "1"):
        environ["OMP_NUM_THREADS"] = str(threads)


def cache_root(environ: Mapping[str, str]) -> Path:
    """Return the folder below which the libraries write."""
    return Path(environ.get(CACHE_VARIABLE) or tempfile.gettempdir())


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Return how many threads may compute: the container's CPU limit, if it has one.

    More threads than the limit would be throttled together, which is far
    slower than having fewer.
    """
    cpus = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return None
    if quota == "max" or int(quota) <= 0:
        return None
    return int(quota) / int(period)
