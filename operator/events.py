"""Kubernetes Events: the story of an object as `kubectl describe` tells it.

Recording never waits and never fails. Events go into a bounded queue and are
written by a task of their own; when the API server is slow, the oldest are
dropped and counted. The same event told again within ten minutes becomes one
series with a count: an object that fails every second costs one Event, updated
as fast as the API server answers.
"""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, final

import structlog

from pykaito.operator import metrics
from pykaito.operator.clock import Clock, microtime
from pykaito.operator.errors import (
    AlreadyExistsError,
    ApiError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
)
from pykaito.operator.leader import NotLeaderError
from pykaito.operator.objects import EVENTS, Object, Resource, name, namespace, uid

_log = structlog.stdlib.get_logger(__name__)

NOTE_LIMIT = 1024
"""Bytes of a note that the API accepts; longer ones are cut."""

SERIES_WINDOW = 600.0
"""Seconds without a repetition after which the same event is a new one."""

_CAPACITY = 1000
_ATTEMPTS = 3
_RETRY_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
# The API limits these fields, in bytes.
_SHORT_FIELD_LIMIT = 128
# 253 for the whole name, less a dot and 16 hexadecimal digits.
_NAME_LIMIT = 236
# Where the API wants the Events of objects that live in no namespace.
_CLUSTER_NAMESPACE = "default"

Type = Literal["Normal", "Warning"]


class EventClient(Protocol):
    """The part of the client that recording needs."""

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object."""

    async def patch(
        self, resource: Resource, name: str, patch: Object, *, namespace: str = ""
    ) -> Object:
        """Merge a patch into an object."""


class _SeriesKey(NamedTuple):
    """What makes two events the same."""

    uid: str
    type: Type
    reason: str
    message: str


@dataclass(slots=True)
class _Series:
    """An event and its repetitions."""

    body: dict[str, Any]
    last: datetime
    seen_at: float
    count: int = 1
    delivered: int = 0


@final
class EventRecorder:
    """Records events about objects, and writes them in the background.

    Args:
        client: writes them.
        clock: time.
        reporting_controller: who says so, a qualified name like `kaito.sh/operator`.
        reporting_instance: which process says so, at most 128 bytes.
        capacity: events that may wait, and series that are remembered.
    """

    def __init__(
        self,
        client: EventClient,
        clock: Clock,
        *,
        reporting_controller: str,
        reporting_instance: str,
        capacity: int = _CAPACITY,
    ) -> None:
        self._client = client
        self._clock = clock
        self._controller = reporting_controller
        self._instance = _cut(reporting_instance, _SHORT_FIELD_LIMIT)
        self._capacity = capacity
        # Both in order of age, the oldest first.
        self._series: OrderedDict[_SeriesKey, _Series] = OrderedDict()
        self._queue: OrderedDict[_SeriesKey, _Series] = OrderedDict()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def normal(
        self, obj: Object, reason: str, message: str, *, action: str = "Reconcile"
    ) -> None:
        """Tell of a step that went as it should.

        Args:
            obj: whom it is about, with apiVersion, kind and uid.
            reason: why, in CamelCase, for programs to match.
            message: what happened, for people; cut at NOTE_LIMIT bytes.
            action: what was being done, in CamelCase.
        """
        self._record("Normal", obj, reason, message, action)

    def warning(
        self, obj: Object, reason: str, message: str, *, action: str = "Reconcile"
    ) -> None:
        """Tell of something that a person should look at; see `normal`."""
        self._record("Warning", obj, reason, message, action)

    async def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._run(), name="events")

    async def stop(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 -- never raises
        """Write what still waits, for `timeout` seconds at most, and end."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._wake.set()
        await asyncio.wait({task}, timeout=timeout)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._dropped("shutdown", len(self._queue))

    def _record(
        self, kind: Type, obj: Object, reason: str, message: str, action: str
    ) -> None:
        try:
            key = _SeriesKey(uid(obj), kind, reason, message)
            series = self._repeated(key)
            if series is None:
                body = self._event(key, obj, action)
                series = _Series(body, self._clock.now(), self._clock.monotonic())
        except Exception:  # noqa: BLE001 -- never raises into a reconcile
            # An object without a kind or name: the story loses a line, the
            # reconcile goes on.
            self._dropped("invalid")
            _log.exception("an event could not be recorded", reason=reason)
            return
        self._series[key] = series
        self._series.move_to_end(key)
        self._queue.setdefault(key, series)
        while len(self._series) > self._capacity:
            self._series.popitem(last=False)
        while len(self._queue) > self._capacity:
            self._queue.popitem(last=False)
            self._dropped("overflow")
        self._wake.set()

    def _repeated(self, key: _SeriesKey) -> _Series | None:
        """Count a repetition, or return None when there is nothing to repeat."""
        now = self._clock.monotonic()
        while self._series:
            oldest = next(iter(self._series.values()))
            if now - oldest.seen_at < SERIES_WINDOW:
                break
            self._series.popitem(last=False)
        series = self._series.get(key)
        if series is not None:
            series.count += 1
            series.last = self._clock.now()
            series.seen_at = now
        return series

    def _event(self, key: _SeriesKey, obj: Object, action: str) -> dict[str, Any]:
        regarding = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": name(obj),
            "uid": key.uid,
        }
        if namespace(obj):
            regarding["namespace"] = namespace(obj)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": _unique_name(regarding["name"]),
                "namespace": namespace(obj) or _CLUSTER_NAMESPACE,
            },
            "eventTime": microtime(self._clock.now()),
            "type": key.type,
            "reason": _cut(key.reason, _SHORT_FIELD_LIMIT),
            "action": _cut(action, _SHORT_FIELD_LIMIT),
            "note": _cut(key.message, NOTE_LIMIT),
            "regarding": regarding,
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }

    async def _run(self) -> None:
        while True:
            while self._queue:
                _, series = self._queue.popitem(last=False)
                await self._deliver(series)
            if self._stopping:
                return
            self._wake.clear()
            await self._wake.wait()

    async def _deliver(self, series: _Series) -> None:
        """Write one event, or what was repeated of it; drop it if that fails."""
        reason = series.body["reason"]
        for attempt in range(_ATTEMPTS):
            try:
                await self._write(series)
            except NotFoundError as error:
                if not series.delivered:
                    self._dropped("refused")  # its namespace is gone
                    _log.info("an event was refused", reason=reason, error=str(error))
                    return
                # The Event outlived its hour in the API server: tell it anew.
                series.delivered = 0
                metadata = series.body["metadata"]
                metadata["name"] = _unique_name(series.body["regarding"]["name"])
            except (ServerError, TooManyRequestsError) as error:
                pause = error.retry_after or _RETRY_PAUSE * 2**attempt
                await self._clock.sleep(min(pause, _LONGEST_PAUSE))
            except (ApiError, NotLeaderError) as error:
                # Forbidden, a namespace that terminates, a field refused, the
                # lease lost: another try would end the same.
                self._dropped("refused")
                _log.info("an event was refused", reason=reason, error=str(error))
                return
            except Exception:  # noqa: BLE001 -- the writer outlives any event
                self._dropped("error")
                _log.exception("an event could not be written", reason=reason)
                return
            else:
                return
        self._dropped("unavailable")

    async def _write(self, series: _Series) -> None:
        count = series.count
        body = series.body
        repeated = {"count": count, "lastObservedTime": microtime(series.last)}
        if series.delivered:
            await self._client.patch(
                EVENTS,
                body["metadata"]["name"],
                {"series": repeated},
                namespace=body["metadata"]["namespace"],
            )
        else:
            # Already there: an earlier attempt arrived, its answer did not.
            with contextlib.suppress(AlreadyExistsError):
                await self._client.create(
                    EVENTS, body | ({"series": repeated} if count > 1 else {})
                )
        series.delivered = count

    def _dropped(self, cause: str, count: int = 1) -> None:
        metrics.EVENTS_DROPPED.labels(cause).inc(count)


def _unique_name(regarding: str) -> str:
    return f"{regarding[:_NAME_LIMIT]}.{secrets.token_hex(8)}"


def _cut(text: str, limit: int) -> str:
    """Cut a text to a number of bytes, between characters, and say so."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "..."
