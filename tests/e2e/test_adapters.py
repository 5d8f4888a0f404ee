"""A model with a LoRA adapter: what it says, and how much of the adapter is in it.

One Workspace goes through all of it, in the order of the tests: each change of it
loads the model anew.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hack.images.delivery import deliver_adapter_files
from hack.weights import adapter_folder, deliver_adapter, deliver_model, model_folder
from tests.e2e.workspaces import (
    Applied,
    Kubectl,
    example,
    own_namespace,
    port_forward,
    prepared,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(900)]

ADAPTER, OTHER = "support.v1", "legal"
#: Each was made of a seed of its own.
SEEDS = {ADAPTER: 1, OTHER: 2}
PROMPT = "What is Kubernetes?"
TOKENS = 4
#: Between two ways to add up the same numbers of bfloat16.
TOLERANCE = 0.1

Answer = tuple[str, list[float]]
#: Given the strengths of adapters.
Expect = Callable[[dict[str, float]], Answer]


def adapters(image: str, strength: str, name: str = ADAPTER) -> list[dict[str, Any]]:
    return [{"source": {"name": name, "image": image}, "strength": strength}]


@pytest.fixture(scope="module")
def adapter_image() -> str:
    return deliver_adapter("phi3")


@pytest.fixture(scope="module")
def other_image() -> str:
    return deliver_adapter("phi3", SEEDS[OTHER])


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, gpu_node: str, adapter_image: str) -> Iterator[Applied]:
    """A Workspace with the whole of an adapter, once its model is served."""
    obj = prepared(
        example("phi-3.5-mini-instruct.yaml"),
        node=gpu_node,
        weights=deliver_model("phi3").reference,
    )
    obj["inference"]["adapters"] = adapters(adapter_image, "1.0")
    with own_namespace(kubectl, "adapters") as namespace:
        applied = Applied(kubectl, namespace, obj)
        applied.wait_serving()
        yield applied


@pytest.fixture(scope="module")
def expected(serving: Applied) -> Expect:
    """What transformers says with the weights added up as the definition has it."""
    (deployment,) = serving.get("deployments")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    dtype = re.search(r"--torch_dtype (\w+)", " ".join(container["command"]))
    assert dtype
    folder = model_folder("phi3")
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def say(strengths: dict[str, float]) -> Answer:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype[1]).eval()
        for weight, delta in deltas(model, strengths).items():
            weight.data.copy_(weight.detach().float() + delta)
        tokens: list[int] = tokenizer(PROMPT).input_ids
        begin, probabilities = len(tokens), []
        with torch.inference_mode():
            for _ in range(TOKENS):
                logits = model(torch.tensor([tokens])).logits[0, -1].float()
                likely = torch.log_softmax(logits, dim=-1).max(dim=-1)
                tokens.append(int(likely.indices))
                probabilities.append(float(likely.values))
        text = tokenizer.decode(tokens[begin:], skip_special_tokens=True)
        return text, probabilities

    return say


def deltas(model: Any, strengths: dict[str, float]) -> dict[Any, torch.Tensor]:
    """Return what adapters add to which weights, together."""
    found: dict[Any, torch.Tensor] = {}
    for adapter, strength in strengths.items():
        files = adapter_folder("phi3", SEEDS[adapter])
        tensors = load_file(files / "adapter_model.safetensors")
        config = json.loads((files / "adapter_config.json").read_text())
        scale = strength * config["lora_alpha"] / config["r"]
        for name, a in tensors.items():
            if ".lora_A." not in name:
                continue
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            module = name.removeprefix("base_model.model.").partition(".lora_A.")[0]
            weight = model.get_submodule(module).weight
            found[weight] = found.get(weight, 0) + scale * b.float() @ a.float()
    return found


def ask(kubeconfig: Path, serving: Applied, model: str | None = None) -> Answer:
    body: dict[str, Any] = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    body |= {"logprobs": 1, "model": model}
    target = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, target, 80) as url:
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=120)
    choice = answer.raise_for_status().json()["choices"][0]
    return choice["text"], choice["logprobs"]["token_logprobs"]


def change(serving: Applied, wanted: list[dict[str, Any]]) -> None:
    patch = {"inference": {"adapters": wanted}}
    serving.kubectl(
        *("patch", "workspace", serving.name, "--type=merge", "-p", json.dumps(patch))
    )


def same(found: Answer, right: Answer) -> bool:
    return found[0] == right[0] and found[1] == pytest.approx(right[1], abs=TOLERANCE)


def test_the_answer_is_the_adapted_models(
    kubeconfig: Path, serving: Applied, expected: Expect
) -> None:
    answer = ask(kubeconfig, serving)
    assert same(answer, expected({ADAPTER: 1.0}))
    assert not same(answer, expected({}))


def test_the_pod_says_what_it_merged(serving: Applied) -> None:
    log = serving.kubectl("logs", f"deployment/{serving.name}").splitlines()
    entries = [json.loads(line) for line in log if line.startswith("{")]
    (merged,) = [one for one in entries if one["event"] == "adapters merged"]
    assert merged["adapters"] == {ADAPTER: 1.0}


def test_two_adapters_are_served_together_and_each_alone_after_one_rollout(
    kubeconfig: Path,
    serving: Applied,
    adapter_image: str,
    other_image: str,
    expected: Expect,
) -> None:
    wanted = adapters(adapter_image, "0.5") + adapters(other_image, "1.0", OTHER)
    change(serving, wanted)
    serving.roll_out(revision=2)
    both = ask(kubeconfig, serving)
    half, other = ask(kubeconfig, serving, ADAPTER), ask(kubeconfig, serving, OTHER)
    assert same(both, expected({ADAPTER: 0.5, OTHER: 1.0}))
    assert same(half, expected({ADAPTER: 0.5}))
    assert same(other, expected({OTHER: 1.0}))
    assert not same(half, expected({ADAPTER: 1.0}))
    assert not same(both, half)
    assert not same(both, other)


def test_no_strength_is_the_base_model(
    kubeconfig: Path, serving: Applied, adapter_image: str, expected: Expect
) -> None:
    change(serving, adapters(adapter_image, "0"))
    serving.roll_out(revision=3)
    assert same(ask(kubeconfig, serving), expected({}))


def test_an_adapter_image_without_files_is_named(
    serving: Applied, tmp_path: Path
) -> None:
    """The last of this file: the Workspace serves no more."""
    (tmp_path / "README.md").write_text("The adapter was put elsewhere.\n")
    change(serving, adapters(deliver_adapter_files(tmp_path, "empty"), "1.0"))
    message = serving.wait_reason("InferenceReady", "ContainerCrashLoopBackOff", 120)
    assert "no adapter_config.json in /data" in message
    assert f"adapter {ADAPTER}" in message
