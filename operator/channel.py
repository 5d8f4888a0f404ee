"""A source of requests that is no watch: something outside the cluster changed."""

from collections.abc import Callable
from typing import final

from pykaito.operator.objects import Key


@final
class Channel:
    """Passes the keys of objects to a controller, which reconciles them.

    What is sent before a controller listens is lost: it begins with every object.
    """

    def __init__(self) -> None:
        self._receivers: list[Callable[[Key], None]] = []

    def receive(self, receiver: Callable[[Key], None]) -> None:
        """Have each key that is sent from now on handed to the receiver."""
        self._receivers.append(receiver)

    def send(self, key: Key) -> None:
        """Have the object of that key reconciled; it need not exist."""
        for receiver in self._receivers:
            receiver(key)
