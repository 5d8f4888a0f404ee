"""``python -m pykaito.runtime.hf``: start the server."""

from pykaito.runtime.hf.main import main

if __name__ == "__main__":
    main()
