"""What Prometheus is told of Workspaces, under the original's metric name."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import final

from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pykaito.api.conditions import WorkspaceCondition
from pykaito.operator.objects import Key, Object
from pykaito.reconcilers.inference.loading import Report, Stage

MACHINE_FAILURES = PrometheusCounter(
    "kaito_machine_failures_total",
    "Instances that could not be had, were lost or were given up",
    ["provisioner", "reason"],
)

STARTUP_SECONDS = Histogram(
    "kaito_workspace_startup_seconds",
    "Seconds that each stage of a rollout took, once for each rollout",
    ["stage"],
    buckets=(
        *(1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 450, 600, 900, 1200, 1800),
        *(3600, 7200),
    ),
)

PHASES = ("succeeded", "error", "pending", "deleting")


@final
class WorkspaceCount(Collector):
    """``kaito_workspace_count``: how many Workspaces are in each phase.

    Counted from the cache at each scrape. Every replica of the operator has the
    whole cache, so over several replicas take the maximum and not the sum.

    Args:
        workspaces: returns every Workspace.
    """

    def __init__(self, workspaces: Callable[[], Iterable[Object]]) -> None:
        self._workspaces = workspaces

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Count now; a phase without Workspaces is told as 0."""
        counted = Counter(map(phase, self._workspaces()))
        family = GaugeMetricFamily(
            "kaito_workspace_count", "Workspaces by phase", labels=["phase"]
        )
        for name in PHASES:
            family.add_metric([name], counted[name])
        yield family


@final
class MachineCount(Collector):
    """``kaito_machine_count``: how many Machines there are, by provisioner and phase.

    Those of provisioners that make nodes are what somebody pays for. As with
    Workspaces, take the maximum over replicas.

    Args:
        machines: returns every Machine.
    """

    def __init__(self, machines: Callable[[], Iterable[Object]]) -> None:
        self._machines = machines

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Count now; only what there is is told."""
        counted = Counter(
            (
                str(machine["spec"].get("provisioner", "")),
                str((machine.get("status") or {}).get("phase") or "Pending"),
            )
            for machine in self._machines()
        )
        family = GaugeMetricFamily(
            "kaito_machine_count",
            "Machines by provisioner and phase",
            labels=["provisioner", "phase"],
        )
        for (provisioner, machine_phase), count in sorted(counted.items()):
            family.add_metric([provisioner, machine_phase], count)
        yield family


@final
class LoadProgress(Collector):
    """``kaito_workspace_load_progress``: how far Workspaces are that load a model.

    It is there as long as a server loads and answers; of several the one that is
    furthest behind counts. Only the replica that leads asks them, so that others tell
    nothing.

    Args:
        reports: returns what each server says, with the key of its Workspace.
    """

    def __init__(self, reports: Callable[[], Iterable[tuple[Key, Report]]]) -> None:
        self._reports = reports

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Tell what is known now."""
        last: dict[Key, Report] = {}
        for workspace, report in self._reports():
            held = last.setdefault(workspace, report)
            last[workspace] = min(held, report, key=_how_far)
        family = GaugeMetricFamily(
            "kaito_workspace_load_progress",
            "How much of a stage of loading is done, from 0 to 1; -1 if not known",
            labels=["namespace", "name", "stage"],
        )
        for workspace, report in sorted(last.items(), key=lambda item: item[0]):
            family.add_metric([*workspace, report.stage.measured_as], _share(report))
        yield family


def _how_far(report: Report) -> tuple[int, float]:
    return list(Stage).index(report.stage), _share(report)


def _share(report: Report) -> float:
    return -1.0 if report.share is None else report.share


def phase(workspace: Object) -> str:
    """Return the phase of a Workspace; an error is what waiting will not mend."""
    if workspace["metadata"].get("deletionTimestamp"):
        return "deleting"
    true = {
        condition["type"]
        for condition in (workspace.get("status") or {}).get("conditions", ())
        if condition["status"] == "True"
    }
    if WorkspaceCondition.WORKSPACE_SUCCEEDED in true:
        return "succeeded"
    return "error" if WorkspaceCondition.STALLED in true else "pending"
