"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of the code. A change is to
# be judged by the same examples every time; `make soak` looks for others.
settings.register_profile(
    "pykaito",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak", settings.get_profile("pykaito"), derandomize=False, print_blob=True
)
settings.load_profile("soak" if "SOAK_FACTOR" in os.environ else "pykaito")
