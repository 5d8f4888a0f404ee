"""Reading what was cached as the model of its kind."""

from typing import TypeVar

from pykaito.api.meta import ApiModel
from pykaito.api.parse import InvalidObjectError, parse
from pykaito.operator.errors import TerminalError
from pykaito.operator.objects import Object

_Model = TypeVar("_Model", bound=ApiModel)


def parsed(model: type[_Model], live: Object) -> _Model:
    """Return the object as its model.

    Raises:
        TerminalError: it does not have the shape of its kind, as one stored
            before the CRD said so may; nothing helps but to change it.
    """
    try:
        return parse(model, live)
    except InvalidObjectError as error:
        raise TerminalError(str(error)) from error
