"""References of images are told from placeholders."""

import pytest

from pykaito.runtime.presets.image_reference import image_doubt


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "library/nginx:1.27",
        "docker.io/library/nginx",
        "localhost:5000/a/b_c/d__e/f--g.h:v1_2-3.4",
        "REGISTRY.example.com/team/model:1",
        "r/a@sha256:" + "0" * 64,
        "r/a:1@sha256:" + "0" * 64,
    ],
)
def test_a_reference_is_read(image: str) -> None:
    assert image_doubt("image", image) is None


@pytest.mark.parametrize(
    "image",
    [
        "<YOUR_IMAGE>",
        "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1",
        "https://r/a:1",
        "r/a:",
        "r/a:-1",
        "r//a",
        "/a",
        "a/",
        "r/a@sha256:12",
        "r/a:" + "1" * 129,
        "a" * 50_000 + "-",
    ],
)
def test_what_is_none_is_told_with_field_and_remedy(image: str) -> None:
    told = image_doubt("the.field", image)
    assert told is not None
    assert told.startswith(f"the.field: found '{image[:20]}")
    assert len(told) < 400
    assert "registry.example.com/path/name:tag" in told
