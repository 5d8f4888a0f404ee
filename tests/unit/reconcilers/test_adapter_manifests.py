"""Adapters on their way into the pod."""

import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykaito.api.v1beta1.adapter import Adapter
from pykaito.reconcilers.inference.manifests import adapters

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_EDGE = st.sampled_from(string.ascii_lowercase + string.digits)
_PART = st.tuples(_EDGE, st.text(string.ascii_lowercase + "-", max_size=20), _EDGE).map(
    "".join
)
NAMES = (
    st.lists(_PART, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 63)
)


def adapter(name: str, strength: str | None = None, **source: Any) -> Adapter:
    source = source or {"image": f"registry/{name}:1"}
    return Adapter.model_validate(
        {"source": {"name": name, **source}}
        | ({"strength": strength} if strength else {})
    )


def on_volume(name: str) -> Adapter:
    return adapter(name, volumeSource={"emptyDir": {}})


@given(NAMES, NAMES)
def test_any_name_makes_a_dns_label_that_the_main_container_does_not_have(
    name: str, main: str
) -> None:
    made = adapters.unit_name(adapter(name), taken=main)
    assert DNS_LABEL.fullmatch(made)
    assert made not in {main, "weights", "copy-tool", "adapters"}


@given(
    st.lists(NAMES, min_size=2, max_size=10, unique_by=lambda n: n.replace(".", "-"))
)
def test_the_adapters_of_a_workspace_have_names_of_their_own(names: list[str]) -> None:
    made = [adapters.unit_name(adapter(name)) for name in names]
    assert len(set(made)) == len(names)


def test_a_workspace_called_like_an_adapters_container_keeps_its_name() -> None:
    assert adapters.unit_name(adapter("a")) == "adapter-a"
    assert adapters.unit_name(adapter("a"), taken="adapter-a") != "adapter-a"


def test_an_adapter_in_an_image_is_copied_into_a_folder_of_its_own() -> None:
    (copied,) = adapters.copy_adapters([adapter("a.b")], main="w")
    assert copied["image"] == "registry/a.b:1"
    (mount,) = (m for m in copied["volumeMounts"] if m["name"] == "adapters")
    assert mount == {
        "name": "adapters",
        "mountPath": "/mnt/adapter/a.b",
        "subPath": "a.b",
    }


def test_an_image_without_an_adapter_says_what_was_looked_for() -> None:
    (copied,) = adapters.copy_adapters([adapter("a")], main="w")
    assert (
        "no adapter_config.json in /data of the image registry/a:1"
        in copied["command"][-1]
    )
    assert copied["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_an_adapter_on_a_volume_is_mounted_and_not_copied() -> None:
    assert adapters.copy_adapters([on_volume("a")], main="w") == []
    assert adapters.volumes([on_volume("a")]) == [{"emptyDir": {}, "name": "adapter-a"}]
    assert adapters.mounts([on_volume("a")]) == [
        {"name": "adapter-a", "mountPath": "/mnt/adapter/a", "readOnly": True}
    ]


def test_adapters_in_images_share_a_volume() -> None:
    both = [adapter("a"), adapter("b")]
    assert adapters.volumes(both) == [{"name": "adapters", "emptyDir": {}}]


def test_the_model_server_cannot_write_to_an_adapter() -> None:
    mounted = adapters.mounts([adapter("a"), on_volume("b")])
    assert all(mount["readOnly"] for mount in mounted)


@pytest.mark.parametrize(
    ("written", "told"), [(None, "1.0"), ("0.25", "0.25"), ("1", "1")]
)
def test_a_strength_is_told_as_written_and_is_full_by_default(
    written: str | None, told: str
) -> None:
    assert json.loads(adapters.listed([adapter("a", written)])) == [
        {"name": "a", "strength": told}
    ]
