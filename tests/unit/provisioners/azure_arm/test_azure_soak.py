"""Whatever Azure does and whenever the operator restarts, the books are right.

Each history is made from its number: Machines come and go, some by force, requests
meet faults, operations fail, and the operator stops or crashes at any moment. Then
the faults end, and it has to come right: a pool for each Machine that is left, and no
other.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from pykaito.operator.objects import Key
from pykaito.provisioners.naming import instance_name
from tests.arm.faults import RandomFaults, Script
from tests.unit.operator.soak import examples
from tests.unit.provisioners.azure_arm.azure_world import (
    NAMESPACE,
    SIZE,
    AzureWorld,
)

pytestmark = pytest.mark.virtual_time

NAMES = ("phi-0", "phi-1", "phi-2")
ANCHOR = "anchor"
#: Longer than the longest pause between tries, and a slow create after it.
PATIENCE = 4000.0


class History:
    """One history: what happens is a matter of its number alone."""

    def __init__(self, world: AzureWorld, number: int) -> None:
        self.world = world
        self.random = random.Random(number)  # noqa: S311 - not for secrets
        self.world.arm.faults = RandomFaults(
            number, rate=self.random.choice((0.1, 0.3))
        )
        self.world.cloud.one_at_a_time = self.random.random() < 0.3

    async def trouble(self) -> None:
        """Live through some starts of the operator."""
        await self.world.add_machine(ANCHOR)
        for _ in range(self.random.randint(1, 4)):
            async with self.world.operator(crash=self.random.random() < 0.7):
                for _ in range(self.random.randint(1, 5)):
                    await asyncio.sleep(self.random.choice((0, 1, 20, 200, 900)))
                    await self.act()
                # Often the end comes between two requests of a reconcile.
                moment = self.random.uniform(0, 0.04)
                await asyncio.sleep(self.random.choice((moment, moment, 30, 300)))
            await asyncio.sleep(self.random.choice((0, 60, 900)))

    async def act(self) -> None:
        name = self.random.choice(NAMES)
        found = self.world.machine(name)
        if found is None:
            await self.world.add_machine(name)
        elif "deletionTimestamp" in found["metadata"]:
            return
        elif self.random.random() < 0.2:
            await self.world.lose_machine(name)
        elif self.random.random() < 0.5:
            await self.world.delete_machine(name)

    async def peace(self) -> None:
        """Let nothing fail any more, and wait until all is as it should be."""
        self.world.arm.faults = Script()
        async with self.world.operator():
            await self.world.until(self.is_right, within=PATIENCE)
            self.check()
            for name in (*NAMES, ANCHOR):
                if self.world.machine(name) is not None:
                    await self.world.delete_machine(name)
            await self.world.until(lambda: not self.world.cloud.pools, within=PATIENCE)
            for name in (*NAMES, ANCHOR):
                await self.world.until_gone(name)

    def is_right(self) -> bool:
        wanted = {instance_name(Key(NAMESPACE, name)) for name in self.kept()}
        return set(self.world.cloud.pools) == wanted and all(
            self.world.condition("Ready", name).get("status") == "True"
            for name in self.kept()
        )

    def kept(self) -> list[str]:
        return [name for name in (*NAMES, ANCHOR) if self.world.machine(name)]

    def check(self) -> None:
        """Hold what Azure was asked for against what was of use."""
        operations = self.world.cloud.operations.values()
        assert {o.doing for o in operations} <= {"Creating", "Deleting"}
        # The anchor is always wanted, so its pool is made again only if one failed.
        anchor = instance_name(Key(NAMESPACE, ANCHOR))
        tally = Counter(
            (o.doing, o.ends.failure is not None)
            for o in operations
            if o.pool == anchor
        )
        assert tally["Creating", False] == 1
        assert self.world.cloud.births[anchor] == 1 + tally["Creating", True]
        assert self.world.cloud.pools[anchor].properties["vmSize"] == SIZE


@pytest.mark.parametrize("number", range(examples(20)))
async def test_any_history_of_machines_leaves_no_pool_and_makes_none_twice(
    tmp_path: Path, number: int
) -> None:
    world = AzureWorld(tmp_path)
    async with world.azure():
        history = History(world, number)
        await history.trouble()
        await history.peace()
