"""How far a model server is with its model, as it says itself."""

from pykaito.reconcilers.inference.loading.report import Report, Stage
from pykaito.reconcilers.inference.loading.words import sentence, told_of

__all__ = ["Report", "Stage", "sentence", "told_of"]
