"""A server follows its list of adapters while requests come and go."""

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pykaito.runtime.hf.adapters import Adapter
from pykaito.runtime.hf.flags import FlagError
from pykaito.runtime.hf.model_source import LoadError
from pykaito.runtime.vllm import adapter_updates
from pykaito.runtime.vllm.adapter_start import LIST_VARIABLE
from pykaito.runtime.vllm.adapter_updates import AdapterUpdates, Follower
from pykaito.runtime.vllm.adapters import Lora
from pykaito.runtime.vllm.environment import ADAPTERS_FOLDER
from pykaito.runtime.vllm.flights import Flights
from pykaito.runtime.vllm.served_adapters import ServedAdapters
from tests.unit.runtime.hf.lora import factors, write_adapter


class Engine:
    """The part of vLLM's EngineClient that loads adapters."""

    def __init__(self) -> None:
        self.loaded: dict[int, str] = {}
        self.most = 0
        self.refused: set[str] = set()
        self.asked = asyncio.Event()
        self.output_processor = SimpleNamespace(request_states={})

    async def add_lora(self, request: Any) -> bool:
        self.asked.set()
        await asyncio.sleep(0)
        if request.lora_path in self.refused:
            raise RuntimeError("rank 64 is greater than max_lora_rank 8")
        self.loaded[request.lora_int_id] = request.lora_path
        self.most = max(self.most, len(self.loaded))
        return True

    async def remove_lora(self, number: int) -> bool:
        return self.loaded.pop(number, None) is not None


class Server:
    """The state of vLLM's app, the requests to it, and what follows the list."""

    def __init__(self, *, slots: int) -> None:
        numbers = count(1)
        self.engine = Engine()
        self.models = SimpleNamespace(
            lora_requests={},
            lora_id_counter=SimpleNamespace(inc=lambda _: next(numbers)),
            lora_resolver_lock=defaultdict(asyncio.Lock),
        )
        config = SimpleNamespace(lora_config=SimpleNamespace(max_loras=slots))
        self.state = SimpleNamespace(
            openai_serving_models=self.models,
            engine_client=self.engine,
            vllm_config=config,
        )
        self.flights = Flights()
        self.listed: tuple[Adapter, ...] | str = ()
        self.malformed: set[str] = set()
        self.prepared = 0
        self.folder = Path("/")
        self.follower = Follower(
            self.read,
            self.ready,
            ServedAdapters(self.state, self.flights, SimpleNamespace),
        )

    def read(self) -> tuple[Adapter, ...]:
        if isinstance(self.listed, str):
            raise FlagError(self.listed)
        return self.listed

    def ready(self, adapter: Adapter) -> Lora:
        self.prepared += 1
        if adapter.name in self.malformed:
            raise LoadError(f"adapter {adapter.name!r} is malformed")
        return Lora(adapter.name, Path(f"/{adapter.name}/{adapter.strength}"), 8)

    async def look(self, **strengths: float) -> None:
        """Have the list say so, and the server look at it."""
        self.listed = tuple(
            Adapter(name, strength, self.folder) for name, strength in strengths.items()
        )
        await self.follower.look()

    @property
    def served(self) -> dict[str, str]:
        return {name: it.lora_path for name, it in self.models.lora_requests.items()}

    @property
    def loaded(self) -> list[str]:
        return sorted(self.engine.loaded.values())


@pytest.fixture
async def server() -> Server:
    return Server(slots=3)


def strength(name: str) -> float | None:
    return REGISTRY.get_sample_value("kaito_adapter_strength", {"adapter": name})


def failures() -> float:
    return REGISTRY.get_sample_value("kaito_adapter_updates_failed_total") or 0.0


async def test_what_is_listed_is_served(server: Server) -> None:
    await server.look(law=1.0, tone=0.5)
    assert server.served == {"law": "/law/1.0", "tone": "/tone/0.5"}
    assert (strength("law"), strength("tone")) == (1, 0.5)
    await server.look(tone=0.25)
    assert server.served == {"tone": "/tone/0.25"}
    assert (strength("law"), strength("tone")) == (None, 0.25)
    await server.look()
    assert server.served == {}
    await server.look(law=0.0)
    assert server.served == {"law": "/law/0.0"}


async def test_a_name_is_served_without_a_break(server: Server) -> None:
    await server.look(law=1.0)
    seen = []

    async def watch() -> None:
        for _ in range(10):
            seen.append(server.served.get("law"))
            await asyncio.sleep(0)

    await asyncio.gather(watch(), server.look(law=0.5))
    assert set(seen) <= {"/law/1.0", "/law/0.5"}
    assert server.served == {"law": "/law/0.5"}


async def test_another_strength_has_a_number_and_a_folder_of_its_own(
    server: Server,
) -> None:
    """By the first requests are told apart, by the second what is cached of them."""
    await server.look(law=1.0)
    before = server.models.lora_requests["law"]
    await server.look(law=0.5)
    after = server.models.lora_requests["law"]
    assert before.lora_int_id != after.lora_int_id
    assert before.lora_path != after.lora_path


async def test_a_version_stays_loaded_until_its_requests_have_ended(
    server: Server,
) -> None:
    await server.look(law=1.0)
    with server.flights.enter():
        await server.look(law=0.5)
        await server.look(law=0.5)
        assert server.loaded == ["/law/0.5", "/law/1.0"]
    with server.flights.enter():
        await server.look(law=0.5)
    assert server.loaded == ["/law/0.5"]


async def test_a_request_that_outlives_its_connection_counts(server: Server) -> None:
    await server.look(law=1.0)
    states = server.engine.output_processor.request_states
    states["a"] = SimpleNamespace(lora_request=server.models.lora_requests["law"])
    states["b"] = SimpleNamespace(lora_request=None)
    await server.look()
    await server.look()
    assert server.loaded == ["/law/1.0"]
    del states["a"]
    await server.look()
    assert server.loaded == []


async def test_nothing_is_loaded_without_a_slot_to_spare(server: Server) -> None:
    """Otherwise vLLM puts out another version that requests may be under way with."""
    await server.look(law=1.0, tone=1.0)
    with server.flights.enter():
        await server.look(law=0.5, tone=0.5)
        assert server.served == {"law": "/law/0.5", "tone": "/tone/1.0"}
        assert strength("tone") == 1
    await server.look(law=0.5, tone=0.5)
    assert server.served == {"law": "/law/0.5", "tone": "/tone/0.5"}
    assert server.engine.most == 3


async def test_adapters_that_go_make_room_for_those_that_come() -> None:
    server = Server(slots=2)
    await server.look(law=1.0, tone=1.0)
    await server.look(tone=1.0, law=0.5)
    assert server.served["law"] == "/law/1.0"
    await server.look(law=0.5)
    await server.look(law=0.5)
    assert server.served == {"law": "/law/0.5"}


@pytest.mark.parametrize("again", [1, 3])
async def test_a_malformed_list_changes_nothing_and_is_told_once(
    server: Server, again: int
) -> None:
    await server.look(law=1.0)
    before = failures()
    server.listed = "adapters.json: is no JSON"
    for _ in range(again):
        await server.follower.look()
    assert server.served == {"law": "/law/1.0"}
    assert failures() == before + 1
    await server.look(law=0.5)
    assert server.served == {"law": "/law/0.5"}


async def test_before_a_list_was_ever_read_nothing_is_taken_away(
    server: Server,
) -> None:
    request = SimpleNamespace(lora_int_id=9, lora_path="/law/1.0")
    server.models.lora_requests["law"] = request
    server.listed = "adapters.json: is no JSON"
    await server.follower.look()
    assert server.served == {"law": "/law/1.0"}


@pytest.mark.parametrize("by", ["the runtime", "vLLM"])
async def test_an_adapter_that_is_refused_stays_as_it_was_beside_the_others(
    server: Server, by: str
) -> None:
    await server.look(law=1.0, tone=1.0)
    before = failures()
    if by == "vLLM":
        server.engine.refused.add("/law/0.5")
    else:
        server.malformed.add("law")
    await server.look(law=0.5, tone=0.5)
    await server.look(law=0.5, tone=0.5)
    assert server.served == {"law": "/law/1.0", "tone": "/tone/0.5"}
    assert failures() == before + 1
    assert strength("law") == 1


async def test_an_adapter_whose_files_the_next_pods_have_is_no_failure(
    server: Server, tmp_path: Path
) -> None:
    before = failures()
    server.folder = tmp_path / "none"
    await server.look(new=1.0)
    assert server.served == {}
    assert failures() == before


async def test_files_are_read_when_the_list_changes_alone(server: Server) -> None:
    for _ in range(3):
        await server.look(law=1.0)
    assert server.prepared == 1


async def test_what_vllm_has_loaded_from_the_start_is_not_loaded_again(
    server: Server,
) -> None:
    request = SimpleNamespace(lora_int_id=9, lora_path="/law/1.0")
    server.models.lora_requests["law"] = request
    await server.look(law=1.0)
    assert server.models.lora_requests == {"law": request}
    assert server.loaded == []


async def test_the_list_is_followed_for_as_long_as_the_app_lives(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vllm", "vllm.lora", "vllm.lora.request"):
        stand_in = SimpleNamespace(LoRARequest=SimpleNamespace)
        monkeypatch.setitem(sys.modules, name, stand_in)
    file = tmp_path / "adapters.json"
    file.write_text("[]")
    write_adapter(tmp_path / "all" / "law", {"a.q_proj": factors(8, 8)})
    monkeypatch.setenv(LIST_VARIABLE, str(file))
    monkeypatch.setenv(ADAPTERS_FOLDER, str(tmp_path / "all"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr(adapter_updates, "LOOK_SECONDS", 0)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("served"))])
    app.state = server.state  # type: ignore[assignment]
    app.add_middleware(AdapterUpdates)
    before = asyncio.all_tasks()
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    file.write_text('[{"name": "law", "strength": "0.5"}]')
    async with asyncio.timeout(10):
        await server.engine.asked.wait()
        async with server.models.lora_resolver_lock["law"]:
            assert list(server.served) == ["law"]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        assert (await client.get("/")).text == "served"
    await told.put({"type": "lifespan.shutdown"})
    await living
    assert asyncio.all_tasks() == before


def test_a_moment_has_passed_once_all_that_came_before_are_answered() -> None:
    flights = Flights()

    def landed(marks: Iterable[int]) -> list[bool]:
        return [flights.have_landed(mark) for mark in marks]

    start = flights.mark()
    with flights.enter():
        first = flights.mark()
        assert landed([start, first]) == [True, False]
        with flights.enter():
            second = flights.mark()
        assert landed([start, first, second]) == [True, False, False]
    assert landed([start, first, second]) == [True, True, True]
