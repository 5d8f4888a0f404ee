"""Why a workload does not serve, and what a person can do about it."""

from pykaito.reconcilers.inference.diagnosis.pods import (
    PRIORITY,
    Reported,
    diagnose,
    unreported,
)
from pykaito.reconcilers.inference.diagnosis.verdict import Diagnosis, pending

__all__ = [
    "PRIORITY",
    "Diagnosis",
    "Reported",
    "diagnose",
    "pending",
    "unreported",
]
