"""What Karpenter cannot be asked for is refused before it is asked."""

from typing import Any

import pytest

from pykaito.provisioners.errors import InvalidRequestError
from pykaito.provisioners.karpenter.limits import check_machine
from pykaito.provisioners.karpenter.settings import Settings, read_settings
from tests.unit.provisioners.karpenter.machines import machine

AZURE = Settings()
AWS = read_settings({"KARPENTER_NODE_CLASS_GROUP": "karpenter.k8s.aws"})
KWOK = Settings(group="karpenter.kwok.sh", kind="KWOKNodeClass")


def refusal(settings: Settings = AZURE, **spec: Any) -> tuple[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        check_machine(machine(**spec), settings)
    return caught.value.field, str(caught.value)


def test_a_known_type_of_the_cloud_is_taken_without_a_word() -> None:
    assert check_machine(machine(), AZURE) == ()
    assert check_machine(machine(instanceType="g6.xlarge"), AWS) == ()


@pytest.mark.parametrize(
    ("settings", "found", "told"),
    [
        (AZURE, "g6.xlarge", "a type of AWS, and Karpenter makes nodes on Azure"),
        (AZURE, "p4d.24xlarge", "did you mean Standard_ND96asr_A100_v4?"),
        (AZURE, "m5.xlarge", "a type of AWS"),
        (AWS, "Standard_ND96isr_H100_v5", "did you mean p5.48xlarge?"),
        (AWS, "Standard_D4s_v5", "a type of Azure, and Karpenter makes nodes on AWS"),
    ],
)
def test_a_type_of_another_cloud_is_refused_with_one_of_the_right_cloud(
    settings: Settings, found: str, told: str
) -> None:
    field, message = refusal(settings, instanceType=found)
    assert field == "spec.instanceType"
    assert f"found {found!r}, " in message
    assert told in message


def test_a_type_with_gpus_that_is_not_known_is_told_and_taken() -> None:
    asked = machine(instanceType="Standard_NC24_A100_v4")
    (told,) = check_machine(asked, AZURE)
    assert told == (
        "spec.instanceType: 'Standard_NC24_A100_v4' is no type with GPUs that is "
        "known; did you mean Standard_NC24ads_A100_v4 or Standard_NC48ads_A100_v4?"
    )


def test_a_type_without_gpus_need_not_be_known() -> None:
    asked = machine(instanceType="Standard_D4s_v5", resources={"cpu": "3"})
    assert check_machine(asked, AZURE) == ()


def test_of_a_cloud_that_is_not_known_any_type_is_taken() -> None:
    assert check_machine(machine(instanceType="gpu-8x"), KWOK) == ()


def test_an_instance_type_has_to_be_named() -> None:
    field, message = refusal(instanceType=None, nodeName="gpu-0")
    assert (field, message.partition(",")[0]) == ("spec.instanceType", "missing")


@pytest.mark.parametrize(
    ("settings", "label", "who"),
    [
        (AZURE, "karpenter.sh/registered", "Karpenter"),
        (AZURE, "testing.karpenter.sh/a", "Karpenter"),
        (AZURE, "karpenter.azure.com/sku-name", "Karpenter"),
        (AWS, "karpenter.k8s.aws/instance-family", "Karpenter"),
        (AWS, "kubernetes.io/hostname", "Kubernetes"),
    ],
)
def test_labels_that_karpenter_sets_are_refused(
    settings: Settings, label: str, who: str
) -> None:
    own = "g6.xlarge" if settings is AWS else "Standard_NC24ads_A100_v4"
    assert refusal(settings, labels={label: "x"}, instanceType=own) == (
        "spec.labels",
        f"found {label!r}, which only {who} may set; use a key of a domain of your own",
    )


def test_labels_that_kubelets_and_admins_set_are_taken() -> None:
    asked = {"node-restriction.kubernetes.io/team": "a", "node.kubernetes.io/x": "b"}
    assert check_machine(machine(labels=asked), AZURE) == ()


def test_another_way_to_pay_than_asked_for_is_refused() -> None:
    _, message = refusal(labels={"karpenter.sh/capacity-type": "spot"})
    assert message.startswith(
        "found karpenter.sh/capacity-type=spot, and the node will have on-demand there"
    )
