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
    SERVING_SECONDS,
    Applied,
    Kubectl,
    example,
    port_forward,
    prepared,
)

pytestmark = [pytest.mark.usefixtures("operator"), pytest.mark.timeout(900)]

ADAPTER = "support.v1"
PROMPT = "What is Kubernetes?"
TOKENS = 4
#: Between two ways to add up the same numbers of bfloat16.
TOLERANCE = 0.1

Answer = tuple[str, list[float]]


def adapters(image: str, strength: str) -> list[dict[str, Any]]:
    return [{"source": {"name": ADAPTER, "image": image}, "strength": strength}]


@pytest.fixture(scope="module")
def adapter_image() -> str:
    return deliver_adapter("phi3")


@pytest.fixture(scope="module")
def serving(kubectl: Kubectl, gpu_node: str, adapter_image: str) -> Iterator[Applied]:
    """A Workspace with the whole of an adapter, once its model is served."""
    namespace = "adapters"
    kubectl("create", "namespace", namespace)
    obj = prepared(
        example("phi-3.5-mini-instruct.yaml"),
        node=gpu_node,
        weights=deliver_model("phi3").reference,
    )
    obj["inference"]["adapters"] = adapters(adapter_image, "1.0")
    for label, value in obj["resource"]["labelSelector"]["matchLabels"].items():
        kubectl("label", "node", gpu_node, f"{label}={value}", "--overwrite")
    applied = Applied(kubectl, namespace, obj)
    try:
        applied.wait_serving()
        yield applied
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def expected(serving: Applied) -> Callable[[float], Answer]:
    """What transformers says with the weights added up as the definition has it."""
    (deployment,) = serving.get("deployments")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    dtype = re.search(r"--torch_dtype (\w+)", " ".join(container["command"]))
    assert dtype
    folder = model_folder("phi3")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tensors = load_file(adapter_folder("phi3") / "adapter_model.safetensors")
    config = json.loads((adapter_folder("phi3") / "adapter_config.json").read_text())

    def say(strength: float) -> Answer:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype[1]).eval()
        scale = strength * config["lora_alpha"] / config["r"]
        for name, a in tensors.items():
            if ".lora_A." not in name:
                continue
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            module = name.removeprefix("base_model.model.").partition(".lora_A.")[0]
            weight = model.get_submodule(module).weight
            merged = weight.detach().float() + scale * b.float() @ a.float()
            weight.data.copy_(merged)
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


def ask(kubeconfig: Path, serving: Applied) -> Answer:
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "logprobs": 1}
    target = f"service/{serving.name}"
    with port_forward(kubeconfig, serving.namespace, target, 80) as url:
        answer = httpx.post(f"{url}/v1/completions", json=body, timeout=120)
    choice = answer.raise_for_status().json()["choices"][0]
    return choice["text"], choice["logprobs"]["token_logprobs"]


def change(serving: Applied, image: str, strength: str) -> None:
    patch = {"inference": {"adapters": adapters(image, strength)}}
    serving.kubectl(
        *("patch", "workspace", serving.name, "--type=merge", "-p", json.dumps(patch))
    )


def roll_out(serving: Applied, revision: int) -> None:
    """Wait until a revision of the Deployment is there and serves."""
    path = r"{.metadata.annotations.deployment\.kubernetes\.io/revision}"
    target = f"deployment/{serving.name}"
    serving.kubectl(
        "wait", target, f"--for=jsonpath={path}={revision}", "--timeout=60s"
    )
    seconds = f"--timeout={SERVING_SECONDS}s"
    serving.kubectl("rollout", "status", target, seconds, timeout=SERVING_SECONDS + 30)


def same(found: Answer, right: Answer) -> bool:
    return found[0] == right[0] and found[1] == pytest.approx(right[1], abs=TOLERANCE)


def test_the_answer_is_the_adapted_models(
    kubeconfig: Path, serving: Applied, expected: Callable[[float], Answer]
) -> None:
    answer = ask(kubeconfig, serving)
    assert same(answer, expected(1.0))
    assert not same(answer, expected(0.0))


def test_the_pod_says_what_it_merged(serving: Applied) -> None:
    log = serving.kubectl("logs", f"deployment/{serving.name}").splitlines()
    entries = [json.loads(line) for line in log if line.startswith("{")]
    (merged,) = [one for one in entries if one["event"] == "adapters merged"]
    assert merged["adapters"] == {ADAPTER: 1.0}


def test_half_the_strength_is_served_after_one_rollout(
    kubeconfig: Path,
    serving: Applied,
    adapter_image: str,
    expected: Callable[[float], Answer],
) -> None:
    change(serving, adapter_image, "0.5")
    roll_out(serving, revision=2)
    answer = ask(kubeconfig, serving)
    assert same(answer, expected(0.5))
    assert not same(answer, expected(1.0))


def test_no_strength_is_the_base_model(
    kubeconfig: Path,
    serving: Applied,
    adapter_image: str,
    expected: Callable[[float], Answer],
) -> None:
    change(serving, adapter_image, "0")
    roll_out(serving, revision=3)
    assert same(ask(kubeconfig, serving), expected(0.0))


def test_an_adapter_image_without_files_is_named(
    serving: Applied, tmp_path: Path
) -> None:
    """The last of this file: the Workspace serves no more."""
    (tmp_path / "README.md").write_text("The adapter was put elsewhere.\n")
    change(serving, deliver_adapter_files(tmp_path, "empty"), "1.0")
    message = serving.wait_reason("InferenceReady", "ContainerCrashLoopBackOff", 120)
    assert "no adapter_config.json in /data" in message
    assert f"adapter {ADAPTER}" in message
