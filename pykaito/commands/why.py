"""``pykaito why``: the one link that holds a Workspace up, and what to run next."""

import sys

from pykaito.commands.chain import Link, first_failing
from pykaito.commands.cluster import Target, ask
from pykaito.commands.failure import FAILED
from pykaito.commands.snapshot import Snapshot, read
from pykaito.operator.client import Client
from pykaito.operator.objects import name, namespace


def show(target: Target) -> None:
    """Print the first link that fails; exit with 0 if none does, else with 1."""

    async def question(client: Client, namespace: str) -> Snapshot:
        return await read(client, namespace, target.name)

    seen = ask(target, question)
    link = first_failing(seen)
    sys.stdout.write(explain(seen, link))
    sys.exit(FAILED if link else 0)


def explain(seen: Snapshot, link: Link | None) -> str:
    """Return the explanation as text."""
    which = f"{namespace(seen.workspace)}/{name(seen.workspace)}"
    if link is None:
        text = f"Workspace {which} is ready.\n"
    else:
        verb = "waits for" if link.progressing else "is held up by"
        text = (
            f"Workspace {which} {verb} {link.kind} {link.name}.\n"
            f"  {link.reason}: {link.message}\n"
            f"Next: {link.command}\n"
        )
    gaps = (f"Not seen: {what} ({why})\n" for what, why in sorted(seen.unread.items()))
    return text + "".join(gaps)
