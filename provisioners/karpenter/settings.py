"""Which of Karpenter's node classes nodes are made by, from the environment.

    KARPENTER_NODE_CLASS_GROUP   karpenter.azure.com unless set
    KARPENTER_NODE_CLASS_KIND    known for Azure and AWS
    KARPENTER_NODE_CLASS_NAME    default unless set; a Machine may name another

The group says which cloud Karpenter works for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pykaito.provisioners.errors import NotConfiguredError
from pykaito.provisioners.skus import Cloud

NODE_CLASS_GROUP = "KARPENTER_NODE_CLASS_GROUP"
NODE_CLASS_KIND = "KARPENTER_NODE_CLASS_KIND"
NODE_CLASS_NAME = "KARPENTER_NODE_CLASS_NAME"

AZURE = "karpenter.azure.com"
AWS = "karpenter.k8s.aws"

_CLOUDS: Mapping[str, Cloud] = {AZURE: "azure", AWS: "aws"}
_KINDS: Mapping[str, str] = {AZURE: "AKSNodeClass", AWS: "EC2NodeClass"}


@dataclass(frozen=True, slots=True)
class Settings:
    """A node class, and the cloud that its group belongs to."""

    group: str = AZURE
    #: Empty where it is neither known nor told.
    kind: str = _KINDS[AZURE]
    name: str = "default"

    @property
    def cloud(self) -> Cloud | None:
        """The cloud, None where it is none whose instance types are known."""
        return _CLOUDS.get(self.group)

    def node_class(self, name: str | None) -> dict[str, str]:
        """Return the reference to a node class, the usual one where none is named.

        Raises:
            NotConfiguredError: its kind is not known.
        """
        if not self.kind:
            raise NotConfiguredError(
                f"{NODE_CLASS_KIND}: missing for the group {self.group!r}; set it to "
                "the kind of its node classes"
            )
        return {"group": self.group, "kind": self.kind, "name": name or self.name}


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables."""
    group = environ.get(NODE_CLASS_GROUP) or AZURE
    return Settings(
        group=group,
        kind=environ.get(NODE_CLASS_KIND) or _KINDS.get(group, ""),
        name=environ.get(NODE_CLASS_NAME) or "default",
    )
