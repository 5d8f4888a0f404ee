"""A user's settings are read, or refused with path, what was found and remedy."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pykaito.runtime.presets.inference_config import parse_inference_config
from pykaito.runtime.presets.settings_text import (
    LONGEST_TEXT,
    MOST_EVENTS,
    InvalidConfigError,
)
from pykaito.runtime.presets.vllm_options import known_options

SHARE = "kv_cache_cpu_memory_utilization"


def refusal(text: str) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        parse_inference_config(text)
    message = str(caught.value)
    assert "found " in message
    return message


def test_the_originals_default_is_read() -> None:
    text = "kv_cache_cpu_memory_utilization: 0.5\nvllm:\n  cpu-offload-gb: 0\n"
    found = parse_inference_config(text)
    assert (found.max_model_len, found.kv_dtype) == (None, "auto")
    assert found.vllm == {"cpu-offload-gb": 0}


def test_a_share_of_ram_is_doubted_unless_it_is_none() -> None:
    (warning,) = parse_inference_config(f"{SHARE}: 0.5").warnings
    assert f"'{SHARE}' has no effect" in warning
    assert "vllm.kv-offloading-size" in warning
    assert "kv-offloading-size" in known_options().values
    for none in ("0", "-1", "null"):
        assert parse_inference_config(f"{SHARE}: {none}").warnings == ()


@pytest.mark.parametrize("name", ["max-model-len", "max_model_len"])
@pytest.mark.parametrize("value", ["4096", "'4096'"])
def test_a_context_is_read_however_it_is_written(name: str, value: str) -> None:
    found = parse_inference_config(f"vllm: {{{name}: {value}}}")
    assert found.max_model_len == 4096
    assert found.vllm_only == ()


@pytest.mark.parametrize("value", ["auto", "-1", "null"])
def test_to_fit_the_context_to_the_memory_can_be_asked_for(value: str) -> None:
    config = parse_inference_config(f"vllm: {{max-model-len: {value}}}")
    assert config.max_model_len is None


@pytest.mark.parametrize("value", ["0", "-5", "4k", "1.5", "true", "[]", "{}", "9" * 9])
def test_a_context_that_is_no_number_of_tokens_is_refused(value: str) -> None:
    if value.isdigit() and int(value):
        assert parse_inference_config(f"vllm: {{max-model-len: {value}}}")
        return
    message = refusal(f"vllm: {{max-model-len: {value}}}")
    assert "vllm.max-model-len: found " in message
    assert "write a whole number from 1" in message


@pytest.mark.parametrize("dtype", ["fp8", "fp8_e5m2"])
def test_a_cache_in_fp8_is_seen(dtype: str) -> None:
    assert parse_inference_config(f"vllm: {{kv-cache-dtype: {dtype}}}").kv_dtype
    assert parse_inference_config(f"vllm: {{kv_cache_dtype: {dtype}}}").kv_dtype == (
        "fp8"
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "vllm:\n", "{}"])
def test_settings_may_be_empty(text: str) -> None:
    assert parse_inference_config(text).vllm == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a", "a list; write a mapping with vllm,"),
        ("vllm: 3", "vllm: found 3; write a mapping"),
        ("max_probe_steps: many", "max_probe_steps: found 'many'; write a whole"),
        ("kv_cache_cpu_memory_utilization: 2", "found 2; write a share"),
        ("kv_cache_cpu_memory_utilization: .nan", "found nan; write a share"),
        ("vllm: {a: 1, a: 2}", "a: found it twice"),
        ("vllm: {max-model-len: 1, max_model_len: 1}", "as max-model-len too"),
        ("1: 2", "found the name 1; write it in quotes"),
        ("vllm: {since: 2001-01-01}", "vllm.since: found datetime.date"),
        ("vllm: {since: 2001-99-99}", "month must be in 1..12"),
        ("vllm: [", "no YAML (did not find expected node content in line 2)"),
        ("--- {}\n--- {}", "no YAML"),
        ("!!python/object:os.system x", "no YAML"),
        ("a: !!binary aGk=", "a: found b'hi'"),
        ("? [a]\n: b", "no YAML"),
        ("a: \x00", "no YAML"),
        ("a: " + "9" * 5000, "cannot be read"),
    ],
)
def test_what_is_no_configuration_is_refused_with_place_and_remedy(
    text: str, told: str
) -> None:
    assert told in refusal(text)


def test_a_bomb_of_aliases_is_refused_before_it_is_built() -> None:
    text = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    assert "found the alias *a0; write the value out" in refusal(text)


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_endless_nesting_is_refused_and_crashes_nothing(opening: str) -> None:
    refusal(opening * (LONGEST_TEXT // len(opening)))


def test_a_text_that_is_too_long_is_not_read() -> None:
    assert f"write {LONGEST_TEXT} at most" in refusal("#" * (LONGEST_TEXT + 1))


def test_a_setting_that_is_none_is_doubted_and_not_refused() -> None:
    (warning,) = parse_inference_config("vlm: {}\nxyz: 1").warnings
    assert "'vlm' (and 1 more) is no setting; did you mean vllm?" in warning


def test_the_checksum_is_of_the_content_and_not_of_its_layout() -> None:
    one = parse_inference_config("vllm: {a: 1, b: 2}").checksum
    assert one == parse_inference_config("# c\nvllm:\n  b: 2\n  a: 1\n").checksum
    assert one != parse_inference_config("vllm: {a: 1, b: 3}").checksum
    assert len(one) == 64


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_inference_config(text).checksum
    except InvalidConfigError:
        return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["vllm", "max_probe_steps", "kv_cache_cpu_memory_utilization", "other"]
        ),
        VALUES
        | st.dictionaries(
            st.sampled_from(["max-model-len", "max_model_len", "kv-cache-dtype"]),
            VALUES,
        ),
    )
)
def test_any_settings_are_read_or_refused(settings: dict[str, object]) -> None:
    try:
        found = parse_inference_config(yaml.safe_dump(settings))
    except InvalidConfigError:
        return
    assert found.max_model_len is None or found.max_model_len > 0


def test_a_text_of_more_values_than_options_is_not_read_to_its_end() -> None:
    said = f"more than {MOST_EVENTS} names and values"
    assert said in refusal(f"vllm: {{a: [{'1,' * MOST_EVENTS}]}}")
    # The rest is no YAML, and nobody gets there.
    assert said in refusal(f"vllm: {{a: [{'1,' * MOST_EVENTS}]}}}}")
    options = "".join(f"  option-{number}: {number}\n" for number in range(1000))
    assert len(parse_inference_config(f"vllm:\n{options}").vllm) == 1000
