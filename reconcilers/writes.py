"""Telling what was written, so that a reconcile waits until the cache has it."""

from collections.abc import Callable

from pykaito.operator.informer import Informer
from pykaito.operator.objects import Object

Note = Callable[[Informer, Object], None]
"""Remembers, for the request at hand, an object that was just written."""
