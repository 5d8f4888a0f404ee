"""The description of the transformers runtime's API (docs/openapi)."""

import json

from pykaito.runtime.hf.app import build_app
from pykaito.runtime.hf.flags import parse_flags
from pykaito.runtime.hf.lifecycle import Lifecycle

FILE = "docs/openapi/transformers.json"


def to_json() -> str:
    """Return what every server of this version has at /openapi.json."""
    schema = build_app(parse_flags([]), Lifecycle()).openapi()
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
