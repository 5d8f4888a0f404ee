"""What commands that ask no cluster take where nothing is said."""

import pykaito

#: Of objects that name none.
NAMESPACE = "default"

#: The transformers runtime of this release.
TRANSFORMERS_IMAGE = f"ghcr.io/pykaito/transformers:{pykaito.__version__}"
