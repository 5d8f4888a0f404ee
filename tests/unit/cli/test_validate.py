"""`pykaito validate` gives each document a line, and a pipeline its exit code."""

from pathlib import Path

import yaml

from tests.unit.cli.command import pykaito
from tests.unit.reconcilers.workspaces import raw_workspace

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"


def test_every_example_is_taken() -> None:
    files = [str(path) for path in sorted(EXAMPLES.glob("*.yaml"))]
    done = pykaito("validate", *files)
    assert done.exit_code == 0
    assert done.stdout.count(": ok: Workspace ") == len(files)


def test_each_document_has_its_line_and_one_refusal_fails_the_run() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    wrong = raw_workspace(inference={"preset": {"name": "falcon-7"}})
    text = yaml.safe_dump_all([raw_workspace(), config, wrong])
    done = pykaito("validate", "-f", "-", stdin=text)
    assert done.exit_code == 1
    taken, passed, refused = done.stdout.splitlines()
    assert taken.startswith("standard input[1]: ok: Workspace workspace-falcon-7b")
    assert passed == "standard input[2]: passed over: ConfigMap"
    assert refused.startswith("standard input[3]: refused: ")
    assert "did you mean falcon-7b" in refused


def test_the_items_of_a_list_are_judged_one_by_one() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [raw_workspace()] * 2}
    done = pykaito("validate", "-f", "-", stdin=yaml.safe_dump(listed))
    assert done.stdout.splitlines()[1].startswith("standard input.items[1]: ok")


def test_a_file_that_cannot_be_read_is_refused_and_the_next_is_judged() -> None:
    good = str(EXAMPLES / "falcon-7b.yaml")
    done = pykaito("validate", "-f", "/no/such.yaml", "-f", good)
    assert done.exit_code == 1
    first, second = done.stdout.splitlines()
    assert first == "/no/such.yaml: refused: No such file or directory"
    assert ": ok: " in second


def test_a_provisioner_without_a_type_to_make_is_refused() -> None:
    wrong = raw_workspace(
        metadata={"annotations": {"kaito.sh/provisioner": "karpenter"}},
        resource={"instanceType": None, "preferredNodes": ["gpu-1"]},
    )
    done = pykaito("validate", "-f", "-", stdin=yaml.safe_dump(wrong))
    assert done.exit_code == 1
    assert "resource.instanceType: found none" in done.stdout
    assert done.stdout.endswith("(SpecInvalid)\n")


def test_an_empty_file_is_refused() -> None:
    done = pykaito("validate", "-f", "-", stdin="# nothing\n")
    assert done.exit_code == 1
    assert "found no document" in done.stdout


def test_no_file_at_all_is_a_wrong_call() -> None:
    assert pykaito("validate").exit_code == 2


def test_every_fault_has_its_line() -> None:
    wrong = raw_workspace(
        resource={"count": 0, "instanceType": "a b"},
        inference={"preset": {"name": "falcon-7b"}, "confg": "params"},
    )
    done = pykaito("validate", "-f", "-", stdin=yaml.safe_dump(wrong))
    assert done.exit_code == 1
    start = "standard input: refused: Workspace default/workspace-falcon-7b: "
    assert [
        line.removeprefix(start).split(": ")[0] for line in done.stdout.splitlines()
    ] == [
        "inference.confg",
        "resource.count",
        "resource.instanceType",
    ]


def test_what_is_likely_not_meant_is_a_warning_and_no_failure() -> None:
    odd = raw_workspace(inference={"preset": {"name": "phi-2"}, "config": "params"})
    done = pykaito("validate", "-f", "-", stdin=yaml.safe_dump(odd))
    assert done.exit_code == 0
    assert "standard input: warning: inference.config: ConfigMap params is not" in (
        done.stdout
    )


def test_a_config_map_of_another_file_counts(tmp_path: Path) -> None:
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "params", "namespace": "default"},
        "data": {"inference_config.yaml": "vllm: {max-model-len: many}"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    odd = raw_workspace(inference={"preset": {"name": "phi-2"}, "config": "params"})
    done = pykaito("validate", "-f", "-", str(path), stdin=yaml.safe_dump(odd))
    assert done.exit_code == 1
    assert "max-model-len: found 'many'" in done.stdout
    assert "(ConfigInvalid)" in done.stdout
