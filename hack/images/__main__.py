"""`python -m hack.images build|push|clean`: the images of the local cluster."""

import argparse
import sys

from hack.cluster.commands import ClusterError
from hack.images.build import build
from hack.images.catalogue import ALL, ON_DEMAND, STAND_INS
from hack.images.delivery import deliver
from hack.images.store import Store


def main() -> int:
    """Run the command line; return the exit status."""
    usual = ALL | STAND_INS
    known = usual | ON_DEMAND
    parser = argparse.ArgumentParser(prog="python -m hack.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "build": "build what has changed",
        "push": "build what has changed and bring it to the cluster's nodes",
    }
    for command, text in helps.items():
        chosen = commands.add_parser(command, help=text)
        chosen.add_argument(
            "names",
            nargs="*",
            default=[],
            metavar="NAME",
            help=f"one of {', '.join(known)}; {', '.join(usual)} by default",
        )
    commands.add_parser("clean", help="delete every image built here")
    arguments = parser.parse_args()
    if unknown := set(getattr(arguments, "names", ())) - known.keys():
        parser.error(
            f"no image {', '.join(sorted(unknown))}: there is {', '.join(known)}"
        )
    try:
        if arguments.command == "clean":
            Store().delete()
            return 0
        make = deliver if arguments.command == "push" else build
        for name in arguments.names or usual:
            make(known[name])
    except (ClusterError, FileNotFoundError) as error:
        print(f"hack.images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
