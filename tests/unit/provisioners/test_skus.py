"""Instance types are looked up as users type them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pykaito.provisioners.skus import (
    GROUP,
    UnknownSkuError,
    find_sku,
    others,
    skus,
    sold_beside,
)
from pykaito.reconcilers.gpu_facts import alternatives, facts_of_type
from pykaito.reconcilers.instance_types import check_instance_type
from tests.unit.reconcilers.workspaces import workspace


def test_an_instance_type_is_found_whatever_its_case() -> None:
    sku = find_sku("standard_nc24ads_a100_V4")
    assert sku.name == "Standard_NC24ads_A100_v4"
    assert (sku.count, sku.model, sku.cloud) == (1, "A100-80GB", "azure")


def test_an_unknown_instance_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownSkuError, match="did you mean Standard_NC24ads_A100_v4"):
        find_sku("Standard_NC24_A100_v4")


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(UnknownSkuError) as caught:
        find_sku("zzz")
    assert caught.value.nearest == []


@pytest.mark.parametrize(
    ("name", "bfloat16"),
    [
        ("Standard_NC6s_v3", False),
        ("g4dn.xlarge", False),
        ("Standard_NC24ads_A100_v4", True),
        ("Standard_NC4_A2", True),
        ("g6.xlarge", True),
    ],
)
def test_gpus_compute_in_bfloat16_since_ampere(name: str, bfloat16: bool) -> None:
    assert find_sku(name).gpu.bfloat16 is bfloat16


@pytest.mark.parametrize(
    ("name", "gpus", "gib"),
    [
        ("Standard_NV72ads_A10_v5", 2, 48),
        ("Standard_ND96asr_A100_v4", 8, 320),
        ("Standard_ND96amsr_A100_v4", 8, 640),
        ("Standard_NC80adis_H100_v5", 2, 188),
        ("Standard_ND96isr_H200_v5", 8, 1128),
        ("Standard_NC24rs_v3", 4, 64),
        ("p4de.24xlarge", 8, 640),
        ("g5.48xlarge", 8, 192),
        ("p3dn.24xlarge", 8, 256),
        ("Standard_NC32_A16", 2, 32),
    ],
)
def test_memory_is_what_the_vendor_names_less_what_is_not_usable(
    name: str, gpus: int, gib: int
) -> None:
    sku = find_sku(name)
    assert sku.count == gpus
    assert 0.9 < sku.count * sku.gpu.memory_mib / 1024 / gib <= 1


def test_every_name_is_there_once() -> None:
    names = [sku.name for sku in skus().values()]
    assert len(names) == len({name.lower() for name in names}) > 90


THEIRS = """
gpus:
  A100-40GB: {vendor: nvidia, memoryMiB: 40536, capability: 8.0}
skus:
  nimbus:
    - {gpu: A100-40GB, count: 1, names: [cumulus-a100]}
    - {gpu: A100-40GB, count: 2, names: [cumulus-a100x2]}
    # Ours stays ours.
    - {gpu: A100-40GB, count: 2, names: [standard_nc24ads_a100_v4]}
"""


@pytest.fixture
def of_a_third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution that sells instance types, as if it were installed."""
    package = tmp_path / "nimbus_skus"
    package.mkdir()
    (package / "skus.yaml").write_text(THEIRS)
    code = "from pathlib import Path\nTABLE = Path(__file__).with_name('skus.yaml')\n"
    (package / "__init__.py").write_text(code)
    metadata = tmp_path / "nimbus-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: nimbus\nVersion: 1.0\n")
    group = f"[{GROUP}]\nnimbus = nimbus_skus:TABLE\n"
    (metadata / "entry_points.txt").write_text(group)
    monkeypatch.syspath_prepend(str(tmp_path))
    others.cache_clear()
    yield
    others.cache_clear()


@pytest.mark.usefixtures("of_a_third_party")
def test_a_third_party_brings_instance_types_of_its_own() -> None:
    sku = find_sku("Cumulus-A100")
    assert (sku.cloud, sku.count, sku.gpu.memory_mib) == ("nimbus", 1, 40536)
    assert {other.name for other in sold_beside("cumulus-a100")} == {
        "cumulus-a100",
        "cumulus-a100x2",
    }
    assert find_sku("Standard_NC24ads_A100_v4").cloud == "azure"
    with pytest.raises(UnknownSkuError, match="did you mean cumulus-a100"):
        find_sku("cumulus-a10")


@pytest.mark.usefixtures("of_a_third_party")
def test_a_plan_knows_what_a_third_party_sells() -> None:
    spec = workspace(
        resource={"instanceType": "cumulus-a100"},
        inference={"preset": {"name": "phi-4-mini-instruct"}},
    )
    assert check_instance_type(spec) == ()
    facts = facts_of_type("cumulus-a100")
    assert facts is not None
    assert (facts.count, facts.memory_mib) == (1, 40536)
    assert alternatives("cumulus-a100") == ["cumulus-a100x2"]
