"""A YAML file -> a protocol; whatever it does not understand is an error.

    data:                       # each entry: a name, and settings by their dotted names
      - sample                  # short for {name: sample, data.source: sample}
      - {name: shop, data.source: shop.csv, data.label_column: stars}
    encoders: [minilm-static]   # short for {name: minilm-static, encoder.name: minilm-static}
    strategies:
      - {name: probe, training.strategy: feature_extraction}
      - {name: tuned, training.strategy: fine_tuning, training.epochs: 3}
    shots: [8, 16, all]         # training rows of each class; all of them when not given
    seeds: [0, 1, 2]            # 0 when not given
    baselines: [majority, tfidf_logreg]
    compare: tfidf_logreg       # what the others are compared with
    settings: {head.dropout: 0.1}

An entry may set whatever a run's configuration has. Where two set the same, a strategy's value wins
over an encoder's, that over a data set's, and that over `settings`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from tfhub_transfer.config import Config
from tfhub_transfer.dotted import flat, nested
from tfhub_transfer.errors import ConfigError, UnknownNameError
from tfhub_transfer.evaluation.protocols.grid import DECIDED, Entry, Protocol
from tfhub_transfer.registry import BASELINES, did_you_mean

__all__ = ["read_protocol"]

# What an entry that is a mere string sets.
_SHORT_FOR = {
    "data": "data.source",
    "encoders": "encoder.name",
    "strategies": "training.strategy",
}
_KEYS = (*_SHORT_FOR, "shots", "seeds", "baselines", "compare", "settings")


def read_protocol(file: str | Path) -> Protocol:
    """Read a protocol from YAML.

    Args:
        file: as this module's docstring shows it.

    Raises:
        ConfigError: it is no YAML, or says what nothing here understands; the text names the entry.
    """
    path = Path(file)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The protocol cannot be read: {error}. Received: {path}") from error
    try:
        return _protocol(path.stem, content)
    except (ConfigError, UnknownNameError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _protocol(title: str, content: Any) -> Protocol:
    if not isinstance(content, dict):
        raise ConfigError(
            f"A protocol is a mapping. Accepted: {', '.join(_KEYS)}. Received: {content!r}"
        )
    for key in content:
        if key not in _KEYS:
            raise ConfigError(
                f"Unknown key.{did_you_mean(str(key), _KEYS)} Accepted: {', '.join(_KEYS)}. "
                f"Received: {key!r}"
            )
    if missing := [axis for axis in _SHORT_FOR if axis not in content]:
        raise ConfigError(f"{' and '.join(missing)} must be given. Received: {', '.join(content)}")
    entries = {
        axis: tuple(_entry(axis, value) for value in _listed(content, axis)) for axis in _SHORT_FOR
    }
    settings = content.get("settings") or {}
    compare = content.get("compare")
    if not isinstance(settings, dict) or not isinstance(compare, str | None):
        raise ConfigError(
            f"settings must be a mapping and compare a name. Received: {settings!r}, {compare!r}"
        )
    baselines = _listed(content, "baselines")
    for name in baselines:
        BASELINES.check(name)
    return Protocol(
        title=title,
        **entries,
        shots=tuple(_count("shots", value) for value in _listed(content, "shots", ("all",))),
        seeds=tuple(_seed(value) for value in _listed(content, "seeds", (0,))),
        baselines=tuple(baselines),
        compare=compare,
        settings=_checked("settings", settings),
    )


def _listed(content: Mapping[str, Any], key: str, default: tuple[Any, ...] = ()) -> list[Any]:
    value = content.get(key, list(default))
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list. Received: {value!r}")
    return value


def _entry(axis: str, value: Any) -> Entry:
    if isinstance(value, str):
        value = {"name": value, _SHORT_FOR[axis]: value}
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise ConfigError(
            f"{axis}: an entry is a name, or a mapping with a `name` that a folder may have: "
            f"letters, digits, '.', '+', '_' and '-'. Received: {value!r}"
        )
    settings = {key: setting for key, setting in value.items() if key != "name"}
    return Entry(name, _checked(f"{axis}, {name!r}", settings))


def _checked(where: str, settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Return settings whose names exist and whose values are of the right type."""
    known = flat(Config().to_dict())
    for key in settings:
        if key in DECIDED:
            raise ConfigError(
                f"{where}: {key} is decided by the protocol's {DECIDED[key]}. "
                f"Received: {settings[key]!r}"
            )
        if key not in known:
            raise ConfigError(
                f"{where}: unknown setting.{did_you_mean(str(key), known)} A setting is named as "
                f"its flag is, as in training.epochs. Received: {key!r}"
            )
    try:
        parsed = _parser().parse_object(nested(settings))
    except jsonargparse.ArgumentError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from error
    return {key: _plain(parsed[key]) for key in settings}


@functools.cache
def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config)
    return parser


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.as_dict() if isinstance(value, jsonargparse.Namespace) else value


def _count(key: str, value: Any) -> int | None:
    if value == "all":
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key} must be numbers of at least 1, or all. Received: {value!r}")
    return value


def _seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"seeds must be whole numbers of at least 0. Received: {value!r}")
    return value
