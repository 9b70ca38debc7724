"""From sources to settings: checked one by one, merged in order.

    DEV_MODE or the defaults  <-  file  <-  file  <-  flags

Each source is checked on its own against the structs of `settings.py` and merged over what came
before; flags come last. Because every source is checked by itself, an error names the file and, in
HCL, the line. An unknown key is an error that names the nearest valid one: a misspelt option that
silently keeps its default is found much later.

Merging is Nomad's (public API: `command/agent/config.go`, the `Merge` methods):

- texts and numbers: the later one wins unless it is empty or zero;
- booleans only switch on;
- the deprecated lists `server.start_join` and `server.retry_join` are joined together, other lists
  replaced;
- maps are merged key by key.

We differ for `REPLACED`: there a written value always wins, because zero or false is a real choice.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from .durations import parse_duration
from .secret import Secret
from .settings import DEV_MODE, NOT_IN_FILES, AgentSettings, Duration
from .settings_checks import check
from .settings_sources import KeyPath, Source, read_sources

Section = TypeVar("Section", bound=msgspec.Struct)

REPLACED = frozenset(
    {
        ("ports", "http"),
        ("ports", "rpc"),
        ("ports", "serf"),
        ("gossip", "compression"),
        ("gossip", "resolve_conflicts"),
    }
)
"""Keys where a written value wins even when it is zero or false: port 0 means any free port, and
the others are on by default."""

CONCATENATED = frozenset({("server", "start_join"), ("server", "retry_join")})
"""Lists to which a later source adds."""


def load_settings(paths: Sequence[str], flags: Source, *, dev: bool = False) -> AgentSettings:
    """Return the settings of `paths` and `flags`, merged and checked.

    Args:
        paths: Files, or directories of them, in order. An empty text loads nothing.
        flags: What the command line said.
        dev: Whether to start from `DEV_MODE` instead of the defaults.

    Raises:
        SettingsError: A file cannot be read, or a value is no good.
    """
    return merge_sources([*read_sources(paths), flags], dev=dev)


def merge_sources(sources: Sequence[Source], *, dev: bool = False) -> AgentSettings:
    """Return the settings of `sources`, later ones over earlier ones, checked.

    Raises:
        SettingsError: A value is no good.
    """
    settings = DEV_MODE if dev else AgentSettings()
    for source in sources:
        settings = _merge_section(
            settings, _read_section(source, AgentSettings, source.values, ()), ()
        )
    files = tuple(source.name for source in sources if source.name)
    settings = msgspec.structs.replace(settings, files=files)
    check(settings, sources)
    return settings


def _read_section(
    source: Source, section: type[msgspec.Struct], values: Mapping[str, Any], path: KeyPath
) -> dict[str, Any]:
    """Return the values of a section with the types of its struct, sections within as dicts."""
    types = get_type_hints(section, include_extras=True)
    if section is AgentSettings:
        types = {name: type_ for name, type_ in types.items() if name not in NOT_IN_FILES}
    read: dict[str, Any] = {}
    for key, value in values.items():
        where = (*path, key)
        if key not in types:
            raise source.error(where, _unknown_key(key, path, types))
        type_ = types[key]
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            if not isinstance(value, Mapping):
                raise source.error(
                    where, f"{_shown(value, type_)} is no section; write {key} {{ … }}"
                )
            read[key] = _read_section(source, type_, value, where)
        else:
            read[key] = _read_value(source, type_, value, where)
    return read


def _unknown_key(key: str, path: KeyPath, types: Mapping[str, Any]) -> str:
    """Say that a key is unknown, and which valid one is nearest: here, or in another section."""
    elsewhere = [known for known in _all_keys(AgentSettings, ()) if known[-1] == key]
    if elsewhere:
        return f'unknown key here; there is "{".".join(elsewhere[0])}"'
    nearest = difflib.get_close_matches(key, types, n=1, cutoff=0.6)
    if nearest:
        return f'unknown key; the nearest valid one is "{".".join((*path, nearest[0]))}"'
    return f"unknown key; valid ones are {', '.join(sorted(types))}"


def _all_keys(section: type[msgspec.Struct], path: KeyPath) -> Iterable[KeyPath]:
    """Yield the path of every key there is."""
    for name, type_ in get_type_hints(section).items():
        if not path and name in NOT_IN_FILES:
            continue
        yield (*path, name)
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            yield from _all_keys(type_, (*path, name))


def _read_value(source: Source, type_: Any, value: Any, path: KeyPath) -> Any:
    """Return one value with its field's type."""
    try:
        # Not strict: Nomad takes `"4646"` for a number and `"true"` for a boolean.
        return msgspec.convert(value, type_, strict=False, dec_hook=_decode)
    except msgspec.ValidationError:
        wanted = f"write {_wanted(type_)}"
        raise source.error(path, f"{_shown(value, type_)} does not fit; {wanted}") from None


def _decode(type_: type, value: Any) -> Any:
    """Make the types msgspec does not know."""
    if type_ is Duration and isinstance(value, str):
        return Duration(parse_duration(value))
    if type_ is Duration and value == 0 and not isinstance(value, bool):
        return Duration(0.0)
    if type_ is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("wrong type")


def _shown(value: Any, type_: Any) -> str:
    """Return a refused value for an error line, shortened, and not at all if it may be a secret."""
    if type_ is Secret:
        return "the value"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _wanted(type_: Any) -> str:
    """Say what a value of this type looks like in a file."""
    if get_origin(type_) is Literal:
        *most, last = [f'"{choice}"' for choice in get_args(type_)]
        return f"{', '.join(most)} or {last}"
    if get_origin(type_) is Annotated:
        (meta,) = type_.__metadata__
        return f"a whole number from {meta.ge} to {meta.le}"
    return {
        int: "a whole number",
        bool: "true or false",
        str: "a text in quotes",
        Secret: "a text in quotes",
        Duration: 'a time with its unit, such as "30s" or "1m30s"',
        tuple: 'a list of texts, such as ["10.0.0.1", "10.0.0.2"]',
        dict: "a section of texts",
    }[get_origin(type_) or type_]


def _merge_section(base: Section, values: Mapping[str, Any], path: KeyPath) -> Section:
    """Return `base` with the values of a later source over it."""
    changes = {
        key: _merge_value(getattr(base, key), value, (*path, key)) for key, value in values.items()
    }
    return msgspec.structs.replace(base, **changes)


def _merge_value(old: Any, new: Any, path: KeyPath) -> Any:
    if isinstance(old, msgspec.Struct):
        return _merge_section(old, new, path)
    if isinstance(old, dict):
        return {**old, **new}
    if path in CONCATENATED:
        return (*old, *new)
    if path in REPLACED:
        return new
    # Nomad's rule in one word: what is empty, zero or false never wins, a boolean that is on stays
    # on.
    return new or old
