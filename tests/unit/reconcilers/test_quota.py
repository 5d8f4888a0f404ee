"""A quota that refuses something is named with what is short."""

from pykaito.reconcilers.quota import explain_quota

PODS = (
    'pods "x-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, '
    "limited: pods=3"
)
SEVERAL = (
    "exceeded quota: q, requested: requests.memory=2Gi,requests.nvidia.com/gpu=4, "
    "used: requests.memory=1Gi,requests.nvidia.com/gpu=6, limited: "
    "requests.memory=2Gi,requests.nvidia.com/gpu=8"
)


def test_the_quota_is_named_with_how_much_is_too_much() -> None:
    assert explain_quota(PODS, "team") == (
        "ResourceQuota small of namespace team is exceeded: pods: 1 more wanted, 3 of "
        "3 used, 1 too much. Raise it, or free some: kubectl -n team describe "
        "resourcequota small"
    )


def test_each_resource_that_is_short_is_told() -> None:
    explained = explain_quota(SEVERAL, "team")
    assert explained is not None
    assert "requests.memory: 2Gi more wanted, 1Gi of 2Gi used, 1073741824 too much" in (
        explained
    )
    assert "requests.nvidia.com/gpu: 4 more wanted, 6 of 8 used, 2 too much" in (
        explained
    )


def test_other_refusals_are_left_as_they_are() -> None:
    assert explain_quota('pods "x" is forbidden: violates PodSecurity', "team") is None
