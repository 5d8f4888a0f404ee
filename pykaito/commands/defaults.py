"""What commands that ask no cluster take where nothing is said."""

import pykaito
from pykaito.provisioners.names import PREFERRED_NODES

#: Of objects that name none.
NAMESPACE = "default"

#: Who makes the nodes of Workspaces that name nobody: as the chart's values, nobody.
PROVISIONER = PREFERRED_NODES

#: The runtimes of this release.
VLLM_IMAGE = f"ghcr.io/pykaito/vllm:{pykaito.__version__}"
TRANSFORMERS_IMAGE = f"ghcr.io/pykaito/transformers:{pykaito.__version__}"
