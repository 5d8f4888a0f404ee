"""vLLM serves a small model on the CPUs of a node, by a build that is for tests.

One Workspace goes through all of it, in the order of the tests.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import torch
from langchain_openai import ChatOpenAI
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel, SecretStr
from safetensors.torch import load_file
from tenacity import (
    retry,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from hack import paths
from hack.images.catalogue import VLLM
from hack.images.delivery import deliver
from hack.images.vllm.chat_templates import LICENCE, TEMPLATES
from hack.weights import adapter_folder, deliver_adapter, deliver_model, model_folder
from pykaito.runtime.presets.vllm_flags import CHAT_TEMPLATES
from tests.e2e.vllm_api import comparable, promised
from tests.e2e.workspaces import (
    SERVING_SECONDS,
    Applied,
    Kubectl,
    on_cpus,
    own_namespace,
    port_forward,
    settings,
)
from tests.schemathesis_run import ask

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(1800)]

#: Of 2 GB, which a node may have to pull first.
STARTING_SECONDS = 900
#: Two minutes without a token, and what is left of the period before.
HUNG_SECONDS = 240
#: The kubelet brings a ConfigMap's change within a minute and a half.
FOLLOWING_SECONDS = 150
#: Found in float32 by two programs that add up in other orders.
TOLERANCE = 1e-3

PROMPT = "What is Kubernetes?"
TOKENS = 4
#: `make soak` asks for more.
FACTOR = int(os.environ.get("SOAK_FACTOR", "1"))
#: Requests to each endpoint.
EXAMPLES = 20 * FACTOR
#: What the server's processes may grow by while they answer them: vLLM keeps grammars
#: that were compiled, the largest here of some MB, and its allocators keep what was
#: free once. A tenth of what such a server has.
GROWTH = 128 * 2**20
#: Clients that leave, and how many are there together: no more than are served.
HANG_UPS = 96 * FACTOR
AT_ONCE = 12

STRENGTHS = {"phi-2": 0.0, "whole": 1.0, "half": 0.5}
WEAKER = 0.25

#: Signals the engine's process, found by the name that it gives itself, not this shell.
SIGNAL_ENGINE = (
    "for p in /proc/[0-9]*; do if grep -q EngineCor[e] $p/cmdline; "
    "then kill -%s ${p#/proc/}; fi; done"
)

#: Compiles each template as transformers does, and prints its name.
COMPILE = f"""
from pathlib import Path
from transformers.utils.chat_template_utils import _compile_jinja_template
for path in sorted(Path({CHAT_TEMPLATES!r}).glob("*.jinja")):
    _compile_jinja_template(path.read_text())
    print(path.name)
"""


class Light(BaseModel):
    """A traffic light."""

    colour: Literal["red", "green"]


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, gpu_node: str) -> Iterator[Applied]:
    """A Workspace with an adapter at two strengths, once its model is served.

    Its pod takes no GPU of the node, whose CPUs nobody else asks for.
    """
    deliver(VLLM)
    config = settings(
        "vllm: {dtype: float32, max-num-seqs: 16}\n"
        "kv_cache_cpu_memory_utilization: 0.5\n"
    )
    model = {
        "name": "phi-2",
        "accessMode": "private",
        # Of another architecture than the name says, as anyone's image may be.
        "presetOptions": {"image": deliver_model("llama").reference},
    }
    adapters = listed(deliver_adapter("llama"), STRENGTHS)
    obj = on_cpus(gpu_node, model, runtime="vllm", adapters=adapters)
    with own_namespace(kubectl, "vllm") as namespace:
        kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(config))
        applied = Applied(kubectl, namespace, obj)
        applied.wait("condition=Ready=True", STARTING_SECONDS)
        yield applied


def listed(image: str, strengths: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the adapters of an image as a Workspace lists them; those of strength."""
    return [
        {"source": {"name": name, "image": image}, "strength": str(strength)}
        for name, strength in strengths.items()
        if strength
    ]


@pytest.fixture
def url(kubeconfig: Path, serving: Applied) -> Iterator[str]:
    target = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, target, 80) as address:
        yield address


@pytest.fixture
def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120, max_retries=0)


def run_in_image(serving: Applied, script: str) -> str:
    return serving.kubectl(
        *("exec", "-i", f"deployment/{serving.name}", "-c", serving.name),
        *("--", "python3", "-"),
        stdin=script,
        timeout=240,
    )


def resident(serving: Applied) -> int:
    """Return the bytes in memory of all processes of the server, less files."""
    script = "cat /proc/[0-9]*/status"
    status = serving.kubectl(
        *("exec", f"deployment/{serving.name}", "-c", serving.name),
        *("--", "sh", "-c", script),
    )
    lines = [line.split() for line in status.splitlines()]
    return sum(int(line[1]) * 1024 for line in lines if line[0] == "RssAnon:")


@retry(
    stop=stop_after_delay(30),
    wait=wait_fixed(1),
    retry=retry_if_result(bool),
    retry_error_callback=lambda state: state.outcome and state.outcome.result(),
)
def unfinished(url: str) -> float:
    """Return how many requests the engine has, once it has none or after a while."""
    text = httpx.get(f"{url}/metrics", timeout=60).text
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    lines = (line for line in text.splitlines() if line.startswith(names))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.fixture(scope="module")
def expected() -> Callable[[float], list[float]]:
    """What transformers says with the weights added up as the definition has it."""
    folder, adapter = model_folder("llama"), adapter_folder("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tensors = load_file(adapter / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text())

    def say(strength: float) -> list[float]:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
        scale = strength * config["lora_alpha"] / config["r"]
        for name, a in tensors.items():
            if ".lora_A." not in name:
                continue
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            module = name.removeprefix("base_model.model.").partition(".lora_A.")[0]
            weight = model.get_submodule(module).weight
            weight.data.add_(scale * b.float() @ a.float())
        tokens: list[int] = tokenizer(PROMPT).input_ids
        found = []
        with torch.inference_mode():
            for _ in range(TOKENS):
                logits = model(torch.tensor([tokens])).logits[0, -1]
                likely = torch.log_softmax(logits, dim=-1).max(dim=-1)
                tokens.append(int(likely.indices))
                found.append(float(likely.values))
        return found

    return say


def test_the_model_and_its_adapters_are_listed(client: OpenAI) -> None:
    cards = client.models.list().data
    assert [card.id for card in cards] == list(STRENGTHS)
    assert cards[0].owned_by == "vllm"


@pytest.mark.parametrize("model", STRENGTHS)
def test_an_adapter_is_as_strong_as_it_is_asked_to_be(
    client: OpenAI, expected: Callable[[float], list[float]], model: str
) -> None:
    answer = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0, logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    right = expected(STRENGTHS[model])
    assert logprobs.token_logprobs == pytest.approx(right, abs=TOLERANCE)


def test_chat_answers_whole_and_in_parts(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": PROMPT}]
    asked: Any = {"model": "half", "messages": messages, "max_tokens": 8}
    whole = client.chat.completions.create(temperature=0, **asked)
    parts = client.chat.completions.create(temperature=0, stream=True, **asked)
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content != ""


def test_curl_gets_an_answer(url: str) -> None:
    body = json.dumps({"model": "phi-2", "prompt": PROMPT, "max_tokens": TOKENS})
    done = subprocess.run(
        [
            *("curl", "-sS", "--fail", f"{url}/v1/completions"),
            *("-H", "Content-Type: application/json", "-d", body),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["usage"]["completion_tokens"] <= TOKENS


def test_another_model_is_not_found(url: str) -> None:
    body = {"model": "gpt-4", "prompt": PROMPT}
    assert posted(f"{url}/v1/completions", body) == 404


def test_adapters_cannot_be_loaded_by_clients(url: str) -> None:
    body = {"lora_name": "x", "lora_path": "/tmp"}  # noqa: S108 - is not read
    assert posted(f"{url}/v1/load_lora_adapter", body) == 404


def test_engines_cannot_be_scaled_by_clients(url: str) -> None:
    body = {"new_data_parallel_size": 2}
    assert posted(f"{url}/scale_elastic_ep", body) == 404


def posted(url: str, body: dict[str, Any]) -> int:
    """Return the status of a request's answer."""
    return httpx.post(url, json=body, timeout=60).status_code


def test_metrics_are_vllms_and_ours(url: str) -> None:
    text = httpx.get(f"{url}/metrics", timeout=60).text
    assert 'vllm:num_requests_running{engine="0",model_name="phi-2"}' in text
    assert 'kaito_ratelimit_rejected_total{model_name="phi-2"} 0.0' in text


def test_the_options_of_a_configuration_are_those_of_the_image(
    serving: Applied,
) -> None:
    script = (paths.ROOT / "hack" / "vllm_options.py").read_text()
    known = paths.ROOT / "runtime" / "presets" / "vllm_options.yaml"
    assert run_in_image(serving, script) == known.read_text()


def test_the_description_of_the_api_is_that_of_the_image(
    serving: Applied, url: str
) -> None:
    text = (paths.ROOT / "docs" / "openapi" / "vllm.json").read_text()
    committed = comparable(json.loads(text))
    script = (paths.ROOT / "hack" / "vllm_openapi.py").read_text()
    assert comparable(json.loads(run_in_image(serving, script))) == committed
    # A model that does more than generate has more endpoints.
    assert comparable(described(url)) == committed


def described(url: str) -> dict[str, Any]:
    """Return what the server says of its API."""
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=60).json()
    return found


def test_no_request_makes_it_fail_or_hang(
    serving: Applied, url: str, tmp_path: Path
) -> None:
    schema = promised(described(url), "phi-2")
    before = resident(serving)
    found = ask(
        schema,
        url,
        tmp_path,
        *("--phases=fuzzing", f"--max-examples={EXAMPLES}", "--warnings=off"),
        "--checks=status_code_conformance,content_type_conformance,"
        "response_headers_conformance,response_schema_conformance,"
        "a_stream_has_an_end,every_reply_is_counted,only_known_bodies_make_it_fail",
        hooks="tests.e2e.vllm_checks",
        seconds=600 * FACTOR,
    )
    for path in ("/v1/completions", "/v1/chat/completions", "/tokenize"):
        assert found[f"POST {path} 200"]
        assert found[f"POST {path} 400"]
    assert httpx.get(f"{url}/health/active", timeout=30).status_code == 200
    assert not unfinished(url)
    assert resident(serving) - before < GROWTH


async def test_clients_that_hang_up_leave_nothing_behind(url: str) -> None:
    """Of more than may run and wait: if they counted on, the last would get 429."""
    body = {"model": "phi-2", "prompt": PROMPT, "max_tokens": 200, "stream": True}

    async def hang_up(http: httpx.AsyncClient) -> int:
        async with http.stream("POST", "/v1/completions", json=body) as reply:
            await anext(reply.aiter_lines())
            return reply.status_code

    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        for _ in range(HANG_UPS // AT_ONCE):
            together = await asyncio.gather(*(hang_up(http) for _ in range(AT_ONCE)))
            assert set(together) == {200}
    assert not unfinished(url)


@pytest.fixture
def chat(url: str) -> ChatOpenAI:
    return ChatOpenAI(
        model="phi-2",
        base_url=f"{url}/v1",
        api_key=SecretStr("none"),
        temperature=0,
        max_retries=0,
        stream_usage=True,
        # Or random weights write spaces for ever where JSON has room for them.
        presence_penalty=2,
        max_completion_tokens=100,
    )


def test_langchain_gets_answers_whole_and_in_parts(chat: ChatOpenAI) -> None:
    whole = chat.invoke(PROMPT)
    assert whole.usage_metadata
    parts = list(chat.stream(PROMPT))
    assert "".join(part.text for part in parts) == whole.text != ""


def test_langchain_gets_output_of_a_structure(chat: ChatOpenAI) -> None:
    """A model of random weights as well: it has no other tokens to choose from."""
    structured = chat.with_structured_output(Light, method="json_schema")
    assert isinstance(structured.invoke(PROMPT), Light)


def test_langchain_is_told_that_a_model_calls_no_tools(chat: ChatOpenAI) -> None:
    with pytest.raises(BadRequestError, match="--enable-auto-tool-choice"):
        chat.bind_tools([Light]).invoke(PROMPT)


def test_another_strength_is_served_by_the_same_pod(
    client: OpenAI, serving: Applied, expected: Callable[[float], list[float]]
) -> None:
    before = pod_of(serving)
    list_adapters(serving, {**STRENGTHS, "half": WEAKER})
    right = expected(WEAKER)
    found = answered(client, "half", right)
    assert found == pytest.approx(right, abs=TOLERANCE)
    whole = expected(STRENGTHS["whole"])
    assert logprobs_of(client, "whole") == pytest.approx(whole, abs=TOLERANCE)
    assert pod_of(serving) == before
    assert serving.wait_event("AdaptersChanged", f"'half' at strength {WEAKER}")


def test_an_adapter_that_is_taken_away_is_served_no_more_by_the_same_pod(
    client: OpenAI, url: str, serving: Applied
) -> None:
    before = pod_of(serving)
    list_adapters(serving, {"whole": 1.0})
    assert status_of(url, "half") == httpx.codes.NOT_FOUND
    assert [card.id for card in client.models.list().data] == ["phi-2", "whole"]
    assert pod_of(serving) == before


def test_an_adapter_whose_files_the_pod_has_is_taken_back_by_it(
    client: OpenAI, serving: Applied, expected: Callable[[float], list[float]]
) -> None:
    before = pod_of(serving)
    list_adapters(serving, STRENGTHS)
    right = expected(STRENGTHS["half"])
    assert answered(client, "half", right) == pytest.approx(right, abs=TOLERANCE)
    assert pod_of(serving) == before


def list_adapters(serving: Applied, strengths: Mapping[str, float]) -> None:
    """Have the Workspace list these of the adapters that its pod has."""
    (live,) = json.loads(serving.kubectl("get", "workspaces", "-o", "json"))["items"]
    image = live["inference"]["adapters"][0]["source"]["image"]
    patch = json.dumps({"inference": {"adapters": listed(image, strengths)}})
    serving.kubectl(*("patch", "workspace", serving.name, "--type=merge", "-p", patch))


def pod_of(serving: Applied) -> tuple[str, int]:
    """Return what would differ after a rollout or a restart."""
    (pod,) = serving.get("pods")
    (status,) = pod["status"]["containerStatuses"]
    return pod["metadata"]["uid"], status["restartCount"]


def logprobs_of(client: OpenAI, model: str) -> list[float | None]:
    answer = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0, logprobs=1
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    return list(logprobs.token_logprobs or ())


def answered(client: OpenAI, model: str, right: list[float]) -> list[float | None]:
    """Return what a model says, once it is right or the kubelet has had its time."""

    @retry(
        stop=stop_after_delay(FOLLOWING_SECONDS),
        wait=wait_fixed(2),
        retry=retry_if_result(
            lambda found: found != pytest.approx(right, abs=TOLERANCE)
        )
        | retry_if_exception_type(NotFoundError),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    def ask() -> list[float | None]:
        return logprobs_of(client, model)

    return ask()


@retry(
    stop=stop_after_delay(FOLLOWING_SECONDS),
    wait=wait_fixed(2),
    retry=retry_if_result(lambda status: status != httpx.codes.NOT_FOUND),
)
def status_of(url: str, model: str) -> int:
    """Return how a request for a model is answered, once it is not found."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1}
    return posted(f"{url}/v1/completions", body)


def test_the_image_has_the_chat_templates_of_the_catalogue(serving: Applied) -> None:
    target = f"deployment/{serving.name}"
    inside = ("exec", "-i", target, "-c", serving.name, "--")
    listed = serving.kubectl(*inside, "ls", CHAT_TEMPLATES).split()
    assert sorted(listed) == sorted({*TEMPLATES, LICENCE})
    compiled = serving.kubectl(*inside, "python3", "-", stdin=COMPILE, timeout=240)
    assert compiled.split() == sorted(TEMPLATES)


def test_an_engine_that_hangs_is_seen_and_restarted(serving: Applied) -> None:
    (pod,) = serving.get("pods")
    name = pod["metadata"]["name"]
    signal_engine(serving, "STOP")
    serving.kubectl(
        *("wait", f"pod/{name}", "--for=condition=Ready=False", "--timeout=150s")
    )
    assert ended(serving, times=1)
    serving.kubectl(
        *("wait", f"pod/{name}", "--for=condition=Ready=True"),
        f"--timeout={SERVING_SECONDS}s",
        timeout=SERVING_SECONDS + 30,
    )


def test_an_engine_that_dies_is_told_of_as_the_reason_of_the_restart(
    serving: Applied,
) -> None:
    signal_engine(serving, "KILL")
    last = ended(serving, times=2)
    assert last["exitCode"] == 1
    assert "the engine ended without a word" in last["message"]


def signal_engine(serving: Applied, signal: str) -> None:
    serving.kubectl(
        *("exec", f"deployment/{serving.name}", "-c", serving.name),
        *("--", "sh", "-c", SIGNAL_ENGINE % signal),
    )


@retry(
    stop=stop_after_delay(HUNG_SECONDS),
    wait=wait_fixed(2),
    retry=retry_if_result(lambda found: not found),
)
def ended(serving: Applied, times: int) -> Mapping[str, Any]:
    """Return how the server ended the last time, once it has so often."""
    (pod,) = serving.get("pods")
    (status,) = pod["status"]["containerStatuses"]
    if status["restartCount"] < times:
        return {}
    last: Mapping[str, Any] = status["lastState"]["terminated"]
    return last


def test_another_runtime_is_one_rollout(kubeconfig: Path, serving: Applied) -> None:
    """The last of this file: vLLM serves no more."""
    serving.kubectl(
        *("annotate", "workspace", serving.name, "--overwrite"),
        "kaito.sh/runtime=transformers",
    )
    # Two pods are there meanwhile, and test_vllm_start.py may have one on the node too.
    serving.roll_out(revision=2, seconds=STARTING_SECONDS)
    service = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, service, 80) as url:
        cards = httpx.get(f"{url}/v1/models", timeout=60).json()["data"]
    assert [card["id"] for card in cards] == list(STRENGTHS)
    assert cards[0]["owned_by"] != "vllm"
