"""`pykaito models` lists what a Workspace can name."""

import json

import yaml

from pykaito.runtime.presets.catalogue import catalogue
from tests.unit.cli.command import pykaito


def test_every_model_has_a_line_under_the_header() -> None:
    header, *lines = pykaito("models").stdout.splitlines()
    assert header.split() == ["NAME", "LICENCE", "GPUS", "WEIGHTS", "CONTEXT", "ACCESS"]
    assert [line.split()[0] for line in lines] == list(catalogue())


def test_a_line_says_what_the_model_needs_and_how_it_is_had() -> None:
    _, line = pykaito("models", "llama-2-13b").stdout.splitlines()
    assert line.split() == ["llama-2-13b", "llama2", "2", "24.24Gi", "4k", "private"]


def test_no_line_ends_in_blanks() -> None:
    lines = pykaito("models").stdout.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_an_unknown_model_fails_with_the_nearest_names_on_one_line() -> None:
    done = pykaito("models", "falcon-7")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "did you mean falcon-7b" in done.stderr
    assert done.stderr.count("\n") == 1


def test_json_and_yaml_hold_the_same_facts() -> None:
    facts = json.loads(pykaito("models", "-o", "json").stdout)
    assert facts == yaml.safe_load(pykaito("models", "-o", "yaml").stdout)
    assert {"name", "weightsGiB", "contextLength", "access"} <= facts[0].keys()


def test_one_model_as_json_is_an_object() -> None:
    assert json.loads(pykaito("models", "phi-2", "-o", "json").stdout)["name"] == (
        "phi-2"
    )


def test_names_come_one_on_a_line() -> None:
    assert pykaito("models", "-o", "name").stdout.split() == list(catalogue())
