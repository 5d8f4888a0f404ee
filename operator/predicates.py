"""Which changes of an object are worth a reconcile.

A predicate sees the object before and after. None before means it is new, None
after that it is gone; both always pass the predicates here, which judge changes
only. `any_of` combines them: a change passes when one of them lets it.
"""

from collections.abc import Callable

from pykaito.operator.objects import Object

Predicate = Callable[[Object | None, Object | None], bool]


def generation_changed(old: Object | None, new: Object | None) -> bool:
    """Pass changes of the spec, not of status or metadata.

    The API server raises `metadata.generation` with each change of the spec, and
    when deletion begins.
    """
    return _differs("generation", old, new)


def labels_changed(old: Object | None, new: Object | None) -> bool:
    """Pass changes of `metadata.labels`."""
    return _differs("labels", old, new)


def annotations_changed(old: Object | None, new: Object | None) -> bool:
    """Pass changes of `metadata.annotations`."""
    return _differs("annotations", old, new)


def deletion_changed(old: Object | None, new: Object | None) -> bool:
    """Pass the begin of a deletion that waits for finalizers."""
    return _differs("deletionTimestamp", old, new)


def finalizers_changed(old: Object | None, new: Object | None) -> bool:
    """Pass changes of `metadata.finalizers`: somebody finished, or tampered."""
    return _differs("finalizers", old, new)


def any_of(*predicates: Predicate) -> Predicate:
    """Pass what at least one of the predicates passes."""

    def passes(old: Object | None, new: Object | None) -> bool:
        return any(predicate(old, new) for predicate in predicates)

    return passes


def _differs(field: str, old: Object | None, new: Object | None) -> bool:
    if old is None or new is None:
        return True
    return _metadata(old, field) != _metadata(new, field)


def _metadata(obj: Object, field: str) -> object:
    # An empty map and an absent one mean the same to Kubernetes.
    return obj.get("metadata", {}).get(field) or None
