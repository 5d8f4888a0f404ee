"""Every command and its options.

A command imports what it runs when it is called: whoever asks for a plan does
not wait for the client of a cluster to load.
"""
# ruff: noqa: PLC0415 - see above

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

import pykaito
from pykaito.commands.defaults import (
    NAMESPACE,
    PROVISIONER,
    TRANSFORMERS_IMAGE,
    VLLM_IMAGE,
)
from pykaito.commands.formats import Listing, Structured

app = typer.Typer(
    help="Run open models on Kubernetes from one Workspace object.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Files = Annotated[
    list[str],
    typer.Option("--filename", "-f", help="A manifest, or - for standard input."),
]
Name = Annotated[str, typer.Argument(help="The Workspace's name.")]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", help="Its namespace; that of the kubeconfig by default."
    ),
]
PlanNamespace = Annotated[
    str, typer.Option("--namespace", "-n", help="For objects that name none.")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="Credentials; those of the pod or KUBECONFIG by default."),
]
ModelConfigs = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        file_okay=False,
        help="Folder with ORG/NAME/config.json of models that the catalogue lacks.",
    ),
]


class RuntimeName(StrEnum):
    """The runtimes, as words of a command line."""

    VLLM = "vllm"
    TRANSFORMERS = "transformers"


DefaultRuntime = Annotated[
    RuntimeName,
    typer.Option(help="What serves presets on GPUs where the Workspace names nothing."),
]
VllmImage = Annotated[str, typer.Option(help="Image of the vLLM runtime.")]
TransformersImage = Annotated[
    str, typer.Option(help="Image of the transformers runtime.")
]
Form = Annotated[
    Structured | None, typer.Option("--output", "-o", help="For programs.")
]


@app.command()
def version() -> None:
    """Print the version."""
    print(pykaito.__version__)  # noqa: T201 - a command's output


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show one model only.")] = None,
    output: Annotated[
        Listing, typer.Option("--output", "-o", help="How to print it.")
    ] = Listing.TABLE,
) -> None:
    """List the models that a Workspace can name. Asks no cluster."""
    from pykaito.commands import models as command

    command.show(name, output)


@app.command()
def plan(
    filename: Files,
    nodes: Annotated[
        str, typer.Option(help="Nodes to bind to, as a,b; made-up names by default.")
    ] = "",
    provisioner: Annotated[
        str,
        typer.Option(
            help="Who makes the nodes of Workspaces that name nobody, as the operator "
            "is told; preferred_nodes makes none."
        ),
    ] = PROVISIONER,
    namespace: PlanNamespace = NAMESPACE,
    default_runtime: DefaultRuntime = RuntimeName.VLLM,
    vllm_image: VllmImage = VLLM_IMAGE,
    transformers_image: TransformersImage = TRANSFORMERS_IMAGE,
    model_configs: ModelConfigs = None,
    output: Form = None,
) -> None:
    """Print what Workspaces would become. Asks no cluster.

    With -o, print the Machines, Service, ConfigMap and Deployment that the operator
    would apply.
    """
    from pykaito.commands import plan as command

    command.show(
        filename,
        command.Request(
            namespace=namespace,
            nodes=nodes,
            provisioner=provisioner,
            images={"vllm": vllm_image, "transformers": transformers_image},
            default_runtime=default_runtime.value,
            model_configs=model_configs,
        ),
        output,
    )


@app.command()
def validate(
    files: Annotated[list[str] | None, typer.Argument(help="More manifests.")] = None,
    filename: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", help="A manifest, or - for standard input."),
    ] = None,
    namespace: PlanNamespace = NAMESPACE,
    model_configs: ModelConfigs = None,
) -> None:
    """Check every document; exit with 1 if one is refused. Asks no cluster."""
    from pykaito.commands import validate as command

    paths = [*(filename or ()), *(files or ())]
    if not paths:
        raise typer.BadParameter("found no file; name one with -f, or - for stdin")
    command.show(paths, namespace, model_configs)


@app.command()
def status(
    name: Name,
    namespace: Namespace = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it until it is ready.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds that --watch takes at most.", min=1)
    ] = 1800,
    output: Form = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a Workspace and all that belongs to it on one screen.

    Exits with 0 if it is ready, else with 1. With --watch: 0 when it is ready,
    1 when it cannot be without a change, 2 when the time is up.
    """
    from pykaito.commands import status as command
    from pykaito.commands.cluster import Target

    target = Target(name, namespace, kubeconfig)
    if watch:
        command.watched(target, output, timeout)
    else:
        command.once(target, output)


@app.command()
def why(name: Name, namespace: Namespace = "", kubeconfig: Kubeconfig = None) -> None:
    """Name the first link that holds a Workspace up, and what to run next.

    Exits with 0 if it is ready, else with 1.
    """
    from pykaito.commands import why as command
    from pykaito.commands.cluster import Target

    command.show(Target(name, namespace, kubeconfig))


@app.command()
def operator(
    vllm_image: VllmImage,
    transformers_image: TransformersImage,
    default_runtime: DefaultRuntime = RuntimeName.VLLM,
    namespace: Annotated[
        str,
        typer.Option(
            help="Namespace of the Lease; that of the credentials by default."
        ),
    ] = "",
    leader_elect: Annotated[
        bool, typer.Option(help="Reconcile only while holding the Lease.")
    ] = True,
    metrics_port: Annotated[int, typer.Option(help="Port of /metrics.")] = 8080,
    health_port: Annotated[
        int, typer.Option(help="Port of /healthz and /readyz.")
    ] = 8081,
    workers: Annotated[int, typer.Option(help="Reconciles at once.", min=1)] = 4,
    webhook: Annotated[
        bool, typer.Option(help="Check Workspaces before they are stored.")
    ] = False,
    webhook_port: Annotated[int, typer.Option(help="Port of the webhook.")] = 9443,
    webhook_service: Annotated[
        str,
        typer.Option(help="Name of its Service and of its webhook configuration."),
    ] = "pykaito-webhook",
    hub_endpoint: Annotated[
        str,
        typer.Option(
            envvar="HF_ENDPOINT",
            help="Hub of the models that the catalogue lacks; none if empty.",
        ),
    ] = "https://huggingface.co",
    insecure_registry: Annotated[
        list[str] | None,
        typer.Option(help="A registry that speaks plain HTTP, as host:port."),
    ] = None,
    model_configs: ModelConfigs = None,
    provisioner: Annotated[
        str,
        typer.Option(
            help="Who makes the nodes of Workspaces that name nobody: preferred_nodes "
            "makes none; karpenter, karpenter_nodepool, azure_arm or another one."
        ),
    ] = PROVISIONER,
    max_machines: Annotated[
        int, typer.Option(help="Nodes made in all, at most.", min=0)
    ] = 100,
    max_machines_per_workspace: Annotated[
        int, typer.Option(help="Nodes made for one Workspace, at most.", min=0)
    ] = 8,
    repair: Annotated[
        str,
        typer.Option(help="What becomes of a node that is lost: replace or report."),
    ] = "replace",
    launch_timeout: Annotated[
        float, typer.Option(help="Seconds that an instance has to join.", min=1)
    ] = 1800,
    node_timeout: Annotated[
        float, typer.Option(help="Seconds that a node may be away or unfit.", min=1)
    ] = 600,
    keep_failed: Annotated[
        float,
        typer.Option(
            help="Seconds that nodes are kept for a Workspace that fails for good; 0 "
            "to keep them.",
            min=0,
        ),
    ] = 3600,
    log_level: Annotated[str, typer.Option(help="debug, info, warning, error.")] = (
        "info"
    ),
    log_format: Annotated[str, typer.Option(help="json or console.")] = "json",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Run the operator until SIGTERM."""
    import asyncio

    from pykaito.commands import operator as command
    from pykaito.operator import logs
    from pykaito.operator.leader import LeadershipLostError
    from pykaito.reconcilers.assembly import Webhook
    from pykaito.reconcilers.controllers import Settings
    from pykaito.reconcilers.hub.hub import Sources
    from pykaito.reconcilers.machine.lifecycle import Policy, Repair
    from pykaito.reconcilers.provisioning import Limits, ProvisioningSettings

    if repair not in {*Repair}:
        raise typer.BadParameter(
            f"--repair: found {repair!r}, must be replace or report"
        )
    if not hub_endpoint.startswith(("https://", "http://")) and hub_endpoint:
        raise typer.BadParameter(
            f"--hub-endpoint: found {hub_endpoint!r}, must begin with https:// or http://"
        )
    if "@" in hub_endpoint.partition("://")[2].partition("/")[0]:
        raise typer.BadParameter(
            "--hub-endpoint: found a user in it, must have none: every model server "
            "gets the address, and messages name it"
        )
    if log_format not in {"json", "console"}:
        raise typer.BadParameter(f"--log-format: {log_format!r} is not json or console")
    kind: Literal["json", "console"] = "json" if log_format == "json" else "console"
    try:
        logs.configure(log_level, kind)
    except ValueError as error:
        raise typer.BadParameter(f"--log-level: {error}") from None
    try:
        asyncio.run(
            command.run(
                Settings(
                    {"vllm": vllm_image, "transformers": transformers_image},
                    hub_endpoint,
                    ProvisioningSettings(
                        default=provisioner,
                        limits=Limits(max_machines_per_workspace, max_machines),
                        policy=Policy(Repair(repair), launch_timeout, node_timeout),
                        keep_failed_seconds=keep_failed,
                        environ=os.environ,
                    ),
                ),
                default_runtime=default_runtime.value,
                kubeconfig=kubeconfig,
                namespace=namespace,
                leader_elect=leader_elect,
                metrics_port=metrics_port,
                health_port=health_port,
                workers=workers,
                webhook=Webhook(webhook_port, webhook_service) if webhook else None,
                sources=Sources(
                    endpoint=hub_endpoint,
                    model_configs=model_configs,
                    insecure_registries=frozenset(insecure_registry or ()),
                ),
            )
        )
    except LeadershipLostError as error:
        command.log.error("lost the lease", error=str(error))
        sys.exit(1)
    except (command.StartError, OSError) as error:
        # Caches that do not fill are a TimeoutError, a port in use an OSError.
        command.log.error("cannot run", error=str(error))
        sys.exit(1)
