"""What can go wrong with a model that the catalogue does not have."""

from typing import final

from pykaito.runtime.presets.catalogue import UnknownPresetError, find_preset
from pykaito.runtime.presets.plan import PlanError, PlanReason

_FIELD = "inference.preset.name"
MOUNT = "give the operator its config.json with --model-configs"


@final
class UnreachableError(PlanError):
    """A server did not answer, or not with what was asked for; tried again later.

    ``retry_after``: seconds that it asked to be left alone for; 0 if it did not.
    """

    def __init__(
        self, reason: PlanReason, message: str, *, retry_after: float = 0
    ) -> None:
        self.retry_after = retry_after
        super().__init__(reason, message, terminal=False)


def pending() -> PlanError:
    """Return that a model is being looked up, after others."""
    return PlanError(
        PlanReason.MODEL_LOOKUP_PENDING,
        f"{_FIELD}: the model is not in the catalogue and is looked up, after others "
        "that are; it is planned once its size is known",
        terminal=False,
    )


def not_found(name: str, where: str) -> PlanError:
    """Return that no model has the name; it names the nearest of the catalogue."""
    return PlanError(
        PlanReason.PRESET_NOT_FOUND,
        f"{_FIELD}: {name} is neither in the catalogue nor a public model of "
        f"{where}{_nearest(name)}",
    )


def gated(name: str, endpoint: str) -> PlanError:
    """Return that the hub keeps a model's config.json from strangers."""
    return PlanError(
        PlanReason.MODEL_GATED,
        f"{_FIELD}: {endpoint} gives the config.json of {name} only with a token, and "
        f"the operator sends none; name a model of the catalogue, or {MOUNT}",
    )


def hub_unreachable(
    name: str, endpoint: str, cause: str, *, retry_after: float = 0
) -> PlanError:
    """Return that the hub did not tell of a model, for now."""
    return UnreachableError(
        PlanReason.HUB_UNREACHABLE,
        f"{_FIELD}: {name} is not in the catalogue, and {endpoint} did not tell of it: "
        f"{cause}; it is tried again. Without a hub name a model of the catalogue, or "
        f"{MOUNT}",
        retry_after=retry_after,
    )


def registry_unreachable(image: str, cause: str) -> PlanError:
    """Return that a registry did not tell of an image, for now."""
    return UnreachableError(
        PlanReason.REGISTRY_UNREACHABLE,
        f"inference.preset.presetOptions.image: the model is not in the catalogue, and "
        f"the registry did not show the config.json in {image}: {cause}; it is tried "
        f"again. Without it {MOUNT}",
    )


def image_without_config(image: str, cause: str) -> PlanError:
    """Return that the config.json of an image cannot be read."""
    return PlanError(
        PlanReason.MODEL_CONFIG_MISSING,
        f"inference.preset.presetOptions.image: the model is not in the catalogue, and "
        f"the config.json in {image} cannot be read: {cause}; {MOUNT}",
    )


def offline(name: str) -> PlanError:
    """Return that nothing is at hand that tells of a model."""
    return PlanError(
        PlanReason.MODEL_CONFIG_MISSING,
        f"{_FIELD}: {name} is not in the catalogue, and no hub is asked; give its "
        f"config.json with --model-configs DIR, as DIR/{name}/config.json, or name a "
        f"model of the catalogue{_nearest(name)}",
    )


def invalid(name: str, where: str, problem: str) -> PlanError:
    """Return that a config.json tells no size of a model."""
    return PlanError(
        PlanReason.MODEL_CONFIG_INVALID,
        f"{_FIELD}: the config.json of {name} {where}: {problem}",
    )


def _nearest(name: str) -> str:
    try:
        find_preset(name)
    except UnknownPresetError as error:
        if error.nearest:
            return f"; did you mean {' or '.join(error.nearest)}?"
    return ""
