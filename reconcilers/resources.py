"""The kinds of the group kaito.sh, as the API server serves them."""

from pykaito.operator.objects import Resource

WORKSPACES = Resource("kaito.sh", "v1beta1", "Workspace", "workspaces")
MACHINES = Resource("kaito.sh", "v1alpha1", "Machine", "machines")
