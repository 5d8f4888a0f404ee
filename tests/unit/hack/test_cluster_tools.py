import pytest

from hack.cluster import tools
from hack.cluster.commands import ClusterError

MANIFEST = """\
module example.dev/tools

go 1.24.0

require (
\tk8s.io/kubernetes-tools v9.9.9
\tk8s.io/kubernetes v1.34.4 // indirect
)
"""


def test_the_version_is_read_from_the_pin_and_from_nowhere_else() -> None:
    assert tools.pinned_version(MANIFEST, "k8s.io/kubernetes") == "v1.34.4"


def test_a_single_require_line_is_a_pin_too() -> None:
    line = "require helm.sh/helm/v4 v4.3.1\n"
    assert tools.pinned_version(line, "helm.sh/helm/v4") == "v4.3.1"


def test_a_module_without_a_pin_is_an_error() -> None:
    with pytest.raises(ClusterError, match=r"does not require k8s\.io/api"):
        tools.pinned_version(MANIFEST, "k8s.io/api")


def test_commands_are_told_the_version_they_are() -> None:
    flags = tools.expand("-X v={version} -X a={major} -X b={minor}", "v1.34.4")
    assert flags == "-X v=v1.34.4 -X a=1 -X b=34"


@pytest.mark.parametrize(
    "changed",
    [
        ("go.mod 2", "sums", "flags"),
        ("go.mod", "sums 2", "flags"),
        ("go.mod", "sums", ""),
    ],
)
def test_whatever_changes_the_binaries_changes_where_they_are_kept(
    changed: tuple[str, str, str],
) -> None:
    key = tools.cache_key("helm", "v4.3.1", "go.mod", "sums", "flags")
    assert key.startswith("helm-v4.3.1-")
    assert tools.cache_key("helm", "v4.3.1", *changed) != key


def test_the_go_release_is_the_one_that_the_manifest_asks_for() -> None:
    assert tools.required_go(MANIFEST) == (1, 24)


@pytest.mark.parametrize("module", tools.ALL, ids=lambda module: module.name)
def test_every_module_pins_its_tool_and_the_sums_of_all_it_needs(
    module: tools.Module,
) -> None:
    folder = tools.MODULES / module.name
    version = tools.pinned_version((folder / "go.mod").read_text(), module.pinned)
    assert f"{module.pinned} {version} h1:" in (folder / "go.sum").read_text()
