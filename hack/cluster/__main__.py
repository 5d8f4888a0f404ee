"""`python -m hack.cluster up|down|status|kubeconfig|rounds`."""

import argparse
import sys
import time

from hack.cluster import cluster, rounds
from hack.cluster.commands import ClusterError
from hack.cluster.state import LOCAL, State


def main() -> int:
    """Do what the command line asks for; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m hack.cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the cluster up, or repair it")
    commands.add_parser("down", help="take it down and leave nothing")
    commands.add_parser("status", help="show its processes; fails if one ended")
    commands.add_parser("kubeconfig", help="print where its kubeconfig is")
    repeat = commands.add_parser("rounds", help="up and down, and compare the host")
    repeat.add_argument("count", type=int, nargs="?", default=5)
    arguments = parser.parse_args()
    try:
        return _do(arguments, LOCAL)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # What was started stays; the next `up` goes on, `down` removes it.
        print("\ninterrupted", file=sys.stderr)
        return 130


def _do(arguments: argparse.Namespace, state: State) -> int:
    match arguments.command:
        case "up":
            started = time.monotonic()
            cluster.up(state)
            seconds = time.monotonic() - started
            print(f"The cluster is up ({seconds:.1f} s): KUBECONFIG={state.kubeconfig}")
        case "down":
            cluster.down(state)
            print("The cluster is down.")
        case "status":
            return 0 if cluster.status(state) else 1
        case "kubeconfig":
            print(state.kubeconfig)
        case "rounds":
            rounds.run_rounds(state, arguments.count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
