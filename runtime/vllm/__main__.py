"""``python -m pykaito.runtime.vllm``: start the server."""

from pykaito.runtime.vllm.main import main

# The engine's processes import this module too.
if __name__ == "__main__":
    main()
