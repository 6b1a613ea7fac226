"""What the deployment of the nights is given: its parameters, from settings and in words."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from models.settings import Settings

NIGHTLY: Final = "retrain/nightly"


def parameters_of(settings: Settings, deliveries: Sequence[str]) -> dict[str, Any]:
    """What the deployments are given: the settings that are not the default, to be seen and changed in the form.

    Storage is none of them: the workers have it in their environment.
    """
    config = settings.config.model_dump(mode="json", exclude_defaults=True, exclude={"storage"})
    return {"config": config, "deliveries": list(deliveries)}


def in_words(parameters: Mapping[str, Any], kept: bool) -> str:
    """What the nights are given; `kept` where that was not said now, so that it may be news.

    Args:
        parameters: Those of the deployment.
        kept: Whether they are from an earlier `up` or from the UI.
    """
    given = "; ".join(_parts(parameters))
    if not given:
        return f"{NIGHTLY} has the defaults"
    if not kept:
        return f"{NIGHTLY} has {given}"
    mend = "change it there, or replace it with --config FILE (an empty one for the defaults)"
    return f"{NIGHTLY} keeps {given}, from an earlier `up` or the UI: {mend}"


def _parts(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name, value in parameters.items():
        if name == "config":
            yield from _settings(value or {})
        elif name == "deliveries":
            yield from (f"the delivery {PurePath(path).name} each night" for path in value or ())
        else:
            yield f"{name} = {value}"


def _settings(config: Mapping[str, Any]) -> Iterator[str]:
    """By their dotted names; of a section with several of them its name and how many."""
    sections = {section: list(_dotted(value, section)) for section, value in config.items()}
    told = [
        names[0] if len(names) == 1 else f"{section} ({len(names)})" for section, names in sections.items() if names
    ]
    if told:
        yield f"settings for {', '.join(told)}"


def _dotted(value: object, name: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield name
        return
    for key, below in value.items():
        yield from _dotted(below, f"{name}.{key}")
