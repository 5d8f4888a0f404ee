"""Keeps a webhook's certificates: stored, trusted by the API server, and served.

Replicas share one Secret. Each looks at it now and then and does what is due, by
`certificates.renewed`; of two that write at once the later one loses by its
resource version, and takes what the other wrote. That needs no leader, and there
is none yet when the first certificate is needed.
"""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import structlog

from pykaito.operator import metrics
from pykaito.operator.certificates import Certificates, KeyPair, renewed
from pykaito.operator.clock import Clock
from pykaito.operator.errors import AlreadyExistsError, ConflictError, NotFoundError
from pykaito.operator.guards import cancel
from pykaito.operator.informer import Informer
from pykaito.operator.objects import SECRETS, Key, Object, Resource

_log = structlog.stdlib.get_logger(__name__)

VALIDATING_WEBHOOK_CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)

FIELD_MANAGER = "pykaito-webhook"

PERIOD = 30.0
"""Seconds between two looks at the Secret."""

_PAUSE = 1.0
"""Seconds between two looks at least: someone may keep clearing the caBundle."""

_ATTEMPTS = 5


class Api(Protocol):
    """The part of the client that rotation needs."""

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read an object; NotFoundError when it does not exist."""

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object; AlreadyExistsError when somebody was faster."""

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Write an object; ConflictError when it changed since it was read."""

    async def apply(
        self, resource: Resource, obj: Object, *, field_manager: str, force: bool
    ) -> Object:
        """Change an object by server-side apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookService:
    """What the API server calls, and where its certificates are kept."""

    namespace: str
    name: str
    """The Service's name."""

    @property
    def host(self) -> str:
        """The name in the URL and in the certificate."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def secret(self) -> str:
        """The name of the Secret, in the Service's namespace."""
        return f"{self.name}-tls"

    @property
    def configuration(self) -> str:
        """The name of the ValidatingWebhookConfiguration."""
        return self.name


@final
class CertificateRotator:
    """Runs beside a webhook server on every replica, leader or not.

    Args:
        api: writes without asking for the lease.
        service: whose certificates.
        configurations: knows the webhook configuration of that name.
        use: takes the pair to serve with.
        clock: time.
    """

    def __init__(
        self,
        api: Api,
        service: WebhookService,
        configurations: Informer,
        use: Callable[[KeyPair], None],
        clock: Clock,
    ) -> None:
        self._api = api
        self._service = service
        self._configurations = configurations
        self._use = use
        self._clock = clock
        self._served: KeyPair | None = None
        self._agreed: Certificates | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        configurations.add_handler(self)

    async def start(self) -> None:
        """Begin; the first certificate comes as soon as the API server answers."""
        self._task = asyncio.create_task(self._run(), name="certificate rotation")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task)

    def on_event(
        self,
        old: Object | None,  # noqa: ARG002 - an EventHandler's signature
        new: Object | None,
        *,
        initial: bool,  # noqa: ARG002 - same
    ) -> None:
        """Look at once when someone changed who is trusted."""
        trusted = self._agreed.bundle if self._agreed else b""
        if new is not None and self._distrusts(new, trusted):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self.rotate()
            except Exception as error:  # noqa: BLE001 - what is served must not depend on it
                metrics.CERTIFICATE_READ_ERRORS.inc()
                _log.warning("certificates could not be looked after", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD - _PAUSE):
                    await self._wake.wait()
            self._wake.clear()
            await self._clock.sleep(_PAUSE)

    async def rotate(self) -> None:
        """Do what is due: store, publish, serve.

        Raises:
            ApiError: the API server refused, or did not answer.
            ssl.SSLError: the certificate cannot be served.
        """
        self._agreed = certificates = await self._agree()
        metrics.CERTIFICATE_READS.inc()
        if self._served is None:
            # Served before it is trusted: better than no certificate at all.
            self._serve(certificates.current)
        await self._publish(certificates.bundle)
        self._serve(certificates.current)

    async def _agree(self) -> Certificates:
        """Return the certificates that are stored, after storing what is due."""
        service = self._service
        for _ in range(_ATTEMPTS):
            try:
                secret = await self._api.get(SECRETS, service.secret, service.namespace)
            except NotFoundError:
                secret = {}
            stored = _decoded(secret.get("data") or {})
            certificates = renewed(
                stored,
                host=service.host,
                now=self._clock.now(),
                served=self._agreed,
                published=self._published(),
            )
            if certificates.to_data() == stored:
                return certificates
            try:
                await self._store(secret, certificates)
            except (AlreadyExistsError, ConflictError):
                continue  # another replica was faster: take what it wrote
            _log.info(
                "certificates stored",
                secret=service.secret,
                expires=certificates.current.expires.isoformat(),
                next=certificates.upcoming is not None,
            )
            return certificates
        raise ConflictError(
            f"Secret {service.namespace}/{service.secret} changed {_ATTEMPTS} times "
            "while it was read and written"
        )

    async def _store(self, secret: Object, certificates: Certificates) -> None:
        data = {
            key: base64.b64encode(value).decode()
            for key, value in certificates.to_data().items()
        }
        if secret:
            await self._api.replace(SECRETS, {**secret, "data": data})
            return
        metadata = {"name": self._service.secret, "namespace": self._service.namespace}
        await self._api.create(
            SECRETS,
            {
                "apiVersion": SECRETS.api_version,
                "kind": SECRETS.kind,
                "metadata": metadata,
                "type": "kubernetes.io/tls",
                "data": data,
            },
        )

    def _published(self) -> bytes | None:
        """Return who is trusted by the API server, None when it calls nobody."""
        configuration = self._configuration()
        if configuration is None:
            return None
        bundles = {_bundle(webhook) for webhook in self._webhooks(configuration)}
        if len(bundles) > 1:
            return b""  # being published
        return next(iter(bundles), None)

    async def _publish(self, bundle: bytes) -> None:
        """Let the API server trust the authorities, and nobody else."""
        configuration = self._configuration()
        if configuration is None or not self._distrusts(configuration, bundle):
            return
        encoded = base64.b64encode(bundle).decode()
        resource = VALIDATING_WEBHOOK_CONFIGURATIONS
        await self._api.apply(
            resource,
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": self._service.configuration},
                "webhooks": [
                    {"name": webhook["name"], "clientConfig": {"caBundle": encoded}}
                    for webhook in self._webhooks(configuration)
                ],
            },
            field_manager=FIELD_MANAGER,
            force=True,
        )
        _log.info("caBundle set", configuration=self._service.configuration)

    def _serve(self, pair: KeyPair) -> None:
        if pair == self._served:
            return
        self._use(pair)
        self._served = pair
        metrics.CERTIFICATE_EXPIRY.set(pair.expires.timestamp())
        _log.info("certificate loaded", expires=pair.expires.isoformat())

    def _configuration(self) -> Object | None:
        return self._configurations.store.get(Key("", self._service.configuration))

    def _webhooks(self, configuration: Object) -> list[Mapping[str, Any]]:
        """Return the configuration's webhooks that this Service answers."""
        wanted = (self._service.namespace, self._service.name)
        found = []
        for webhook in configuration.get("webhooks") or ():
            called = webhook["clientConfig"].get("service") or {}
            if (called.get("namespace"), called.get("name")) == wanted:
                found.append(webhook)
        return found

    def _distrusts(self, configuration: Object, bundle: bytes) -> bool:
        """Whether one of the webhooks trusts others than the bundle's."""
        return any(_bundle(w) != bundle for w in self._webhooks(configuration))


def _bundle(webhook: Mapping[str, Any]) -> bytes:
    return _decode(webhook["clientConfig"].get("caBundle") or "")


def _decoded(data: Mapping[str, str | None]) -> dict[str, bytes]:
    # The API server stores a null, too.
    return {key: _decode(value or "") for key, value in data.items()}


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
