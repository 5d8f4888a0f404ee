"""How far a start is, by lines that vLLM 0.32.0 wrote on CPUs, or writes on GPUs."""

from pykaito.runtime.hf.progress import FIRST_TOKEN, Progress
from pykaito.runtime.vllm.stages import ENGINE, Stages

WORKER = "(Worker pid=24752) INFO 11-29 03:51:00 "
LOAD = f"{WORKER}[cpu_model_runner.py:68] Starting to load model /workspace/weights..."
NONE = "Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]"
ONE = (
    "Loading safetensors checkpoint shards:  25% Completed | 1/4 "
    "[00:02<00:07, 2.53s/it]"
)
ALL = (
    "(Worker_TP0 pid=7) Loading safetensors checkpoint shards: 100% Completed | 4/4 "
    "[00:00<00:00, 56.82it/s]"
)
TOOK = f"{WORKER}[gpu_model_runner.py:5150] Model loading took 1.2 GiB memory and 9 s"
COMPILE = f"{WORKER}[monitor.py:40] Starting torch.compile"
DYNAMO = f"{WORKER}[backends.py:1167] Dynamo bytecode transform time: 4.12 s"
CACHE = (
    "(EngineCore pid=24613) INFO 11-29 03:51:01 [kv_cache_utils.py:2327] CPU KV cache "
    "size: 524,288 tokens, Maximum concurrency for 256 tokens per request: 2048.00x"
)
WARM_UP = f"{WORKER}[cpu_model_runner.py:87] Warming up model for the compilation..."
CAPTURE = (
    "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  50%|#####     | 16/32 "
    "[00:01<00:01, 12.10it/s]"
)


def told(*lines: str, before: str = ENGINE) -> list[tuple[str, float | None]]:
    """Return what is told of a start after each of the lines."""
    progress = Progress()
    progress.begin(before)
    stages = Stages(progress)
    found = []
    for line in lines:
        stages.hear(line)
        found.append((progress.stage, progress.share))
    return found


def test_a_start_on_cpus_goes_from_stage_to_stage() -> None:
    assert told(LOAD, NONE, ONE, ALL, CACHE, WARM_UP) == [
        ("loading the weights", 0),
        ("loading the weights", 0),
        ("loading the weights", 0.25),
        ("loading the weights", 1),
        ("preparing the engine", None),
        ("compiling the model", None),
    ]


def test_a_start_on_gpus_goes_from_stage_to_stage() -> None:
    assert told(LOAD, ALL, TOOK, COMPILE, DYNAMO, CACHE, CAPTURE) == [
        ("loading the weights", 0),
        ("loading the weights", 1),
        ("preparing the engine", None),
        ("compiling the model", None),
        ("compiling the model", None),
        ("compiling the model", None),
        ("capturing CUDA graphs", 0.5),
    ]


def test_a_worker_that_is_late_turns_nothing_back() -> None:
    assert told(COMPILE, LOAD, TOOK, ONE)[-1] == ("compiling the model", None)


def test_a_draft_model_is_loaded_after_the_model() -> None:
    assert told(LOAD, ALL, NONE)[-1] == ("loading the weights", 1)


def test_weights_are_in_memory_once_something_follows() -> None:
    progress = Progress()
    stages = Stages(progress)
    stages.hear(LOAD)
    assert progress.loaded == 0
    stages.hear(TOOK)
    assert progress.loaded == 1


def test_unknown_lines_change_nothing() -> None:
    lines = ("", "a line of another version", "Loading 3/4 [", "\x1b[1m", WORKER)
    assert set(told(*lines)) == {(ENGINE, None)}


def test_no_line_changes_what_is_over() -> None:
    assert told(LOAD, ALL, CAPTURE, before=FIRST_TOKEN)[-1] == (FIRST_TOKEN, None)


def test_compiling_is_measured_by_itself() -> None:
    progress = Progress()
    stages = Stages(progress)
    for line in (LOAD, ALL, TOOK, COMPILE, CAPTURE):
        stages.hear(line)
    progress.begin(FIRST_TOKEN)
    progress.finish()
    assert progress.startup.keys() == {"import", "load", "compile", "first_token"}
