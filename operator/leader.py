"""Leader election: one process of several writes, by holding a Lease.

The holder renews the Lease every `retry_period`. A candidate that saw no change
of the Lease for its whole duration, on its own monotonic clock, takes it over;
the times written in it are for people and never compared, so wall clocks may
disagree. A holder trusts its lease for `renew_deadline` only, counted from
before the request that renewed it: whatever became of that request, the holder
has stopped before anybody else starts.

A process that is stopped or blocked cannot notice that its time is up, so
`check` belongs before each write, not in a loop of its own.
"""

import asyncio
import copy
import random
import socket
import uuid
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, final

import structlog

from pykaito.operator import metrics
from pykaito.operator.clock import Clock, microtime
from pykaito.operator.errors import ApiError, NotFoundError
from pykaito.operator.objects import LEASES, Object, Resource

_log = structlog.stdlib.get_logger(__name__)

# Pauses vary by this share, so that candidates do not march in step.
_JITTER = 0.2
# A conflict with one's own renewal, cut off while under way, is worth one more try.
_RELEASE_ATTEMPTS = 2
# A released Lease says that it lasts one second, the shortest the API allows.
_RELEASED_DURATION = 1


class NotLeaderError(Exception):
    """A write was about to be made without a valid lease."""


class LeadershipLostError(Exception):
    """The lease was not renewed in time; the process must stop."""


class LeaseClient(Protocol):
    """The part of the client that the election needs."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read an object; NotFoundError when it does not exist."""

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object; AlreadyExistsError when somebody was faster."""

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Write an object; ConflictError when it changed since it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElection:
    """Which Lease, and its timing in seconds; the defaults are client-go's.

    Attributes:
        namespace: where the Lease lives.
        name: the Lease's name; processes that compete share it.
        lease_duration: how long candidates wait without seeing a renewal.
        renew_deadline: how long the holder acts on its last renewal.
        retry_period: the pause between two attempts.
    """

    namespace: str
    name: str
    lease_duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        longest_retry = self.retry_period * (1 + _JITTER)
        if not self.lease_duration > self.renew_deadline > longest_retry > 0:
            raise ValueError(
                "leader election needs lease_duration > renew_deadline >"
                f" {1 + _JITTER} * retry_period > 0, got {self.lease_duration},"
                f" {self.renew_deadline} and {self.retry_period}"
            )

    @property
    def request_timeout(self) -> float:
        """How long one request may take: a lost one leaves time for another."""
        return self.renew_deadline / 2


def default_identity() -> str:
    """Return an identity that no other process has: the host's name and a uuid.

    The Pod's name alone would do for a Pod, but not for the same container
    restarted in it, whose predecessor's requests may still be under way.
    """
    return f"{socket.gethostname()}_{uuid.uuid4()}"


@final
class LeaderElector:
    """Acquires, keeps and releases one Lease; for one term of office.

    Args:
        client: reads and writes the Lease.
        clock: time.
        config: which Lease, and its timing.
        identity: who we are, unique among the candidates.
        rng: the source of jitter.
    """

    def __init__(
        self,
        client: LeaseClient,
        clock: Clock,
        config: LeaderElection,
        *,
        identity: str,
        rng: random.Random,
    ) -> None:
        self.identity = identity
        self._client = client
        self._clock = clock
        self._config = config
        self._rng = rng
        self._observed: Object = {}  # the Lease's spec
        self._observed_at = 0.0
        self._valid_until = float("-inf")
        self._may_hold = False
        self._status = metrics.LEADER_STATUS.labels(config.name)
        self._status.set(0)

    @property
    def holder(self) -> str:
        """The identity in the Lease as last seen; empty when nobody holds it."""
        return str(self._observed.get("holderIdentity") or "")

    def is_leader(self) -> bool:
        """Return whether a write may be made at this moment."""
        return self._clock.monotonic() < self._valid_until

    def check(self, resource: Resource) -> None:
        """Raise NotLeaderError unless a write may be made at this moment.

        To be the client's `before_write`. Leases pass, or there would be no
        election.
        """
        if resource != LEASES and not self.is_leader():
            raise NotLeaderError(
                f"{self.identity} does not hold the lease"
                f" {self._config.namespace}/{self._config.name}: it may not write"
                f" {resource}"
            )

    async def acquire(self) -> None:
        """Wait, as long as it takes, until this process holds the lease.

        API errors are logged and retried. Cancelled, it may leave a Lease that
        is taken by this process; it expires by itself, or `release` it.
        """
        _log.info("waiting for the lease", lease=self._config.name)
        while not await self._attempt():
            await self._clock.sleep(self._pause())
        self._status.set(1)
        _log.info("became the leader", lease=self._config.name, identity=self.identity)

    async def renew(self) -> NoReturn:
        """Keep the lease until that fails.

        Raises:
            LeadershipLostError: it was not renewed in time, or somebody else
                holds it. From here on `is_leader` is false.
        """
        while True:
            await self._clock.sleep(self._pause())
            # The holder trusts each renewal for renew_deadline; what remains
            # of the last one is the time for the next.
            remaining = self._valid_until - self._clock.monotonic()
            try:
                async with asyncio.timeout(remaining):
                    await self._renew_once()
            except TimeoutError:
                raise self._lost(
                    f"was not renewed within {self._config.renew_deadline:g} s"
                ) from None

    async def release(self) -> None:
        """Give the lease up so that the next leader need not wait for its end.

        To be called last, when nothing writes any more. Never raises: a lease
        that could not be released expires.
        """
        self._resign()
        if not self._may_hold:
            return
        for _ in range(_RELEASE_ATTEMPTS):
            try:
                async with asyncio.timeout(self._config.request_timeout):
                    await self._release_once()
            except (ApiError, TimeoutError) as error:
                _log.warning(
                    "could not release the lease",
                    lease=self._config.name,
                    error=str(error) or type(error).__name__,
                )
            else:
                return

    async def _attempt(self) -> bool:
        """Try once to take or renew the lease; false when that did not succeed."""
        try:
            async with asyncio.timeout(self._config.request_timeout):
                return await self._take_or_renew()
        except (ApiError, TimeoutError) as error:
            _log.warning(
                "the lease could not be read or written",
                lease=self._config.name,
                error=str(error) or type(error).__name__,
            )
            return False

    async def _take_or_renew(self) -> bool:
        config = self._config
        try:
            lease = await self._client.get(LEASES, config.name, config.namespace)
        except NotFoundError:
            began = self._begin_write()
            lease = await self._client.create(LEASES, self._lease(None))
        else:
            self._observe(lease)
            if self.holder not in {"", self.identity} and self._expires_in() > 0:
                return False
            began = self._begin_write()
            lease = await self._client.replace(LEASES, self._lease(lease))
        self._observe(lease)
        # Counted from before the request: candidates count from when they see
        # its effect, which is later.
        self._valid_until = began + config.renew_deadline
        return True

    async def _renew_once(self) -> None:
        while not await self._attempt():
            if self.holder != self.identity:
                raise self._lost(f"is held by {self.holder!r} now")
            await self._clock.sleep(self._pause())

    async def _release_once(self) -> None:
        config = self._config
        lease = await self._client.get(LEASES, config.name, config.namespace)
        self._observe(lease)
        if self.holder != self.identity:
            return
        released = copy.deepcopy(dict(lease))
        del released["spec"]["holderIdentity"]
        released["spec"]["leaseDurationSeconds"] = _RELEASED_DURATION
        released["spec"]["renewTime"] = microtime(self._clock.now())
        self._observe(await self._client.replace(LEASES, released))
        _log.info("released the lease", lease=config.name)

    def _begin_write(self) -> float:
        # Whatever becomes of the request, it may make us the holder.
        self._may_hold = True
        return self._clock.monotonic()

    def _observe(self, lease: Object) -> None:
        # Only the spec counts: a new label on the Lease is no renewal.
        spec = lease.get("spec") or {}
        if spec != self._observed:
            self._observed = spec
            self._observed_at = self._clock.monotonic()

    def _expires_in(self) -> float:
        """Return for how many seconds the lease must be respected yet."""
        duration = self._observed.get("leaseDurationSeconds")
        if duration is None:
            duration = self._config.lease_duration
        return self._observed_at + float(duration) - self._clock.monotonic()

    def _pause(self) -> float:
        spread = self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        pause = self._config.retry_period * spread
        if self.holder not in {"", self.identity}:
            # Be there when the lease runs out, not a pause later.
            expires_in = self._expires_in()
            if 0 < expires_in < pause:
                return expires_in
        return pause

    def _lost(self, how: str) -> LeadershipLostError:
        self._resign()
        # There is nothing to release, and no time to lose in trying.
        self._may_hold = False
        return LeadershipLostError(f"lease {self._config.name} {how}")

    def _resign(self) -> None:
        self._valid_until = float("-inf")
        self._status.set(0)

    def _lease(self, current: Object | None) -> dict[str, Any]:
        """Return the Lease that says we hold it, built on what is there."""
        now = microtime(self._clock.now())
        lease: dict[str, Any] = (
            copy.deepcopy(dict(current))
            if current
            else {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {
                    "namespace": self._config.namespace,
                    "name": self._config.name,
                },
            }
        )
        spec = lease.setdefault("spec", {})
        if spec.get("holderIdentity") != self.identity:
            if current is not None:
                spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
            spec["acquireTime"] = now
        spec["holderIdentity"] = self.identity
        spec["leaseDurationSeconds"] = self._config.lease_duration
        spec["renewTime"] = now
        return lease
