"""Write the description of the vLLM runtime's API as docs/openapi/vllm.json.

It runs where vLLM is installed, which is nowhere near the operator:

    PYTHON_WITH_VLLM hack/vllm_openapi.py > docs/openapi/vllm.json
"""

import json
import os
import sys

from pykaito.runtime.vllm.openapi import described


def main() -> None:
    """Print the file."""
    # Its log goes to standard output otherwise.
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    from vllm import __version__  # noqa: PLC0415 - takes seconds
    from vllm.entrypoints.launchers.app import build_app  # noqa: PLC0415
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    app = build_app(arguments, ("generate",))
    schema = described(app.openapi(), __version__)
    text = json.dumps(schema, ensure_ascii=False, indent=1)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
