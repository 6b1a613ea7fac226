"""The effective configuration and where each of its values came from.

Layers, later ones win: defaults ← configuration file ← environment ← `--set`.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from models.config import RetrainConfig, StorageConfig, bounds_in_words, storage_variable
from models.credentials import without_credentials
from models.errors import ConfigError
from models.locations import open_at

PREFIX = "NOCTURNE_"
NO_SETTINGS = ("NOCTURNE_ACTOR", "NOCTURNE_WEBHOOK")
"""Variables of ours that set nothing of the configuration."""
DEFAULT = "default"
_BY_SYMBOL = ("data.splits", "data.renames")
"""Settings with a name of the market's below them, written as it is."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """A valid configuration with the provenance of every value."""

    config: RetrainConfig
    """What a night is given. Storage that the environment names is left to it, since it may hold credentials."""
    effective: RetrainConfig
    """All of it, as it holds in this process and may be shown."""
    origins: dict[str, str]
    """Dotted key of each value → `default`, file and line, environment variable, or `--set`."""

    def value(self, dotted: str) -> Any:
        """The effective value of a setting."""
        return _at(self.effective, tuple(dotted.split(".")))


@dataclass(frozen=True)
class Assignment:
    """One value for one key, as somebody wrote it."""

    key: Key
    value: Any
    origin: str

    @classmethod
    def of_text(cls, dotted: str, text: str, origin: str) -> Self:
        return cls(tuple(dotted.split(".")), _value(text), origin)


def load_settings(
    file: str | None = None,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    base: str | None = None,
) -> Settings:
    """Put the layers together and check the result as a whole.

    Args:
        file: YAML file of the user, a path or an fsspec URI.
        assignments: `section.key=value` each, the value as YAML.
        environment: Variables; `NOCTURNE_GATE__FRESH_SESSIONS` sets gate.fresh_sessions, NOCTURNE_HOME storage.home.
        base: Another YAML file, below `file`.

    Raises:
        ConfigError: a file that cannot be read, an unknown key or a refused value; all that are wrong at once, each
            with the allowed range and its origin.
    """
    here = list(_storage(environment or {}))
    given = [
        *(one for source in (base, file) if source for one in _from_file(source)),
        *here,
        *_from_environment(environment or {}),
        *_from_command_line(assignments),
    ]
    last = {one.key: one for one in given}
    stated = [one for one in given if last[one.key] not in here]
    try:
        config = RetrainConfig.model_validate(_nested(stated))
        effective = RetrainConfig.model_validate(_nested(given))
    except ValidationError as error:
        raise _refusal([_problem(detail, given) for detail in error.errors()]) from None
    if truths := [one for one in given if isinstance(one.value, bool) and not isinstance(_at(config, one.key), bool)]:
        raise _refusal([_refused(one.key, one.value, "a truth value is no number", one.origin) for one in truths])
    keys = (key for key, _ in _leaves(config.model_dump(mode="json")))
    return Settings(config, effective, {".".join(key): _origin(key, given) for key in keys})


def shipped(name: str) -> str:
    """Path of a configuration that comes with Nocturne, such as `demo.yaml`."""
    return str(Path(__file__).parents[1] / "configs" / name)


def _from_file(uri: str) -> list[Assignment]:
    try:
        with open_at(uri) as file:
            loader = yaml.SafeLoader(file.read())
        root = loader.get_single_node()
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{uri} holds no settings: a mapping is needed, for example\n  gate:\n    policy: manual")
        return list(_assigned(loader, root, (), uri))
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"The configuration {uri} cannot be read: {error}. Check the path given to --config."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{uri} is no valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{uri} holds an alias (*name) that stands for a part of itself. Write it out.") from None


def _assigned(loader: yaml.SafeLoader, node: yaml.MappingNode, above: Key, uri: str) -> Iterator[Assignment]:
    _refuse_repeats(node, above, uri)
    loader.flatten_mapping(node)
    for name, value in node.value:
        said = loader.construct_object(name)
        key = (*above, str(said) if isinstance(said, date) else name.value)  # ON and 0700 are names of symbols
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _assigned(loader, value, key, uri)
        else:
            line = name.start_mark.line + 1
            yield Assignment(key, loader.construct_object(value, deep=True), f"{_seen_from_here(uri)}, line {line}")


def _seen_from_here(uri: str) -> str:
    here = Path.cwd()
    return str(Path(uri).relative_to(here)) if Path(uri).is_relative_to(here) else uri


def _refuse_repeats(node: yaml.MappingNode, above: Key, uri: str) -> None:
    first: dict[str, int] = {}
    for name, _ in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode):
            raise ConfigError(f"{uri}, line {line}: the name of a setting is a plain word, not a list or a mapping.")
        if name.value in first:
            raise ConfigError(
                f"{uri} sets {'.'.join((*above, name.value))} twice, on lines {first[name.value]} and {line}. "
                f"Delete one of them; it would silently have lost."
            )
        first[name.value] = line


def _storage(environment: Mapping[str, str]) -> Iterator[Assignment]:
    for part in StorageConfig.model_fields:
        if uri := environment.get(variable := storage_variable(part)):
            yield Assignment(("storage", part), without_credentials(uri), variable)


def _from_environment(environment: Mapping[str, str]) -> Iterator[Assignment]:
    read_elsewhere = {*map(storage_variable, StorageConfig.model_fields), *NO_SETTINGS}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in read_elsewhere:
            *section, last = name.removeprefix(PREFIX).split("__")
            above = ".".join(section).lower()
            dotted = f"{above}.{last if above in _BY_SYMBOL else last.lower()}" if section else last.lower()
            yield Assignment.of_text(dotted, environment[name], name)


def _from_command_line(assignments: Iterable[str]) -> Iterator[Assignment]:
    for text in assignments:
        dotted, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text} says no value. Write --set section.key=value, e.g. --set training.seed=2")
        yield Assignment.of_text(dotted.strip(), value, "--set")


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text  # such as %Y%m%d, which YAML reserves; a text in the wrong place is refused by its field


def _nested(given: Iterable[Assignment]) -> dict[str, Any]:
    settings = RetrainConfig().model_dump()  # so that one head's number may be given without the other's
    for one in given:
        section = settings
        for name in one.key[:-1]:
            if not isinstance(section.get(name), dict):
                section[name] = {}
            section = section[name]
        section[one.key[-1]] = one.value
    return settings


def _leaves(settings: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _at(config: RetrainConfig, key: Key) -> Any:
    value: Any = config
    for name in key:
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def _origin(key: Key, given: Sequence[Assignment]) -> str:
    """Who set this value last: itself, a section above it, or (for a rule over a section) anything below it."""
    above = [one.origin for one in given if key[: len(one.key)] == one.key]
    below = [one.origin for one in given if one.key[: len(key)] == key]
    if above:
        return above[-1]
    return "; ".join(dict.fromkeys(below)) or DEFAULT


def _refusal(problems: Sequence[str]) -> ConfigError:
    wrong = "A setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
    return ConfigError("\n  ".join([f"{wrong}; nothing was run:", *problems]))


def _problem(detail: ErrorDetails, given: Sequence[Assignment]) -> str:
    key = tuple(str(part) for part in detail["loc"])
    origin = _origin(key, given)
    if detail["type"] == "extra_forbidden":
        return f"{'.'.join(key)} is no setting (from {origin}). {_nearest(key)}"
    if detail["type"] == "value_error":  # a rule over several settings, which says all by itself
        return f"{detail['msg'].removeprefix('Value error, ')} (from {origin})"
    reason = detail["msg"][0].lower() + detail["msg"][1:]
    return _refused(key, detail["input"], reason, origin)


def _refused(key: Key, value: object, reason: str, origin: str) -> str:
    allowed = _allowed(key)
    return f"{'.'.join(key)} = {value!r} (from {origin}): {reason}." + (f" Allowed: {allowed}." if allowed else "")


def _nearest(key: Key) -> str:
    known = [".".join(known) for known in _known_keys()]
    near = difflib.get_close_matches(".".join(key), known, n=3, cutoff=0.8)
    near = near or [one for one in known if one.rsplit(".", 1)[-1] == key[-1]]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return "`nocturne show-config` lists all settings."


def _known_keys() -> list[Key]:
    return [key for key, _ in _leaves(RetrainConfig().model_dump(mode="json"))]


def _allowed(key: Key) -> str:
    """The allowed values of a setting in words, from the schema of the configuration; empty where all of them are."""
    schema = RetrainConfig.model_json_schema()
    definitions = schema["$defs"]
    at: dict[str, Any] = schema
    for name in key:
        at = _resolved(at, definitions)
        items, free = at.get("items"), at.get("additionalProperties")
        at = at.get("properties", {}).get(name) or (items if isinstance(items, dict) else free) or {}
        if not isinstance(at, dict):
            return ""
    return _in_words(_resolved(at, definitions), definitions)


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; of an optional section, the section."""
    reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("anyOf", []) if "$ref" in one), None)
    resolved: dict[str, Any] = definitions[reference.rsplit("/", 1)[-1]] if reference else schema
    return resolved


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
}


def _in_words(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if options := schema.get("enum"):
        return " or ".join(map(str, options))
    if alternatives := schema.get("anyOf"):
        return " or ".join(_in_words(_resolved(one, definitions), definitions) for one in alternatives)
    if properties := schema.get("properties"):
        return f"a section with {', '.join(properties)}"
    kind = _KINDS.get(schema.get("type", ""), "")
    if isinstance(items := schema.get("items"), dict):
        return f"{kind}, each {_in_words(_resolved(items, definitions), definitions)}"
    return f"{kind} {bounds_in_words(schema)}".strip()
