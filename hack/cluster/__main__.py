"""`python -m hack.cluster up|down|status|kubeconfig`."""

import argparse
import sys

from hack.cluster import local
from hack.cluster.commands import ClusterError
from hack.cluster.state import LOCAL


def main() -> int:
    """Do what the command line asks for; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m hack.cluster")
    parser.add_argument("command", choices=("up", "down", "status", "kubeconfig"))
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "up":
                local.up(LOCAL)
            case "down":
                local.down(LOCAL)
            case "kubeconfig":
                print(LOCAL.kubeconfig)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
