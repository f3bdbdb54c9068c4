"""What a search varies around a configuration, and what one of its trials has of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfhub_transfer.config import Config
from tfhub_transfer.dotted import flat, nested
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.runs import config_from_dict

__all__ = ["Choice", "Dimension", "Range", "Space", "with_settings"]

@dataclass(frozen=True)
class Choice:
    """One of a few values.

    Attributes:
        name: of the setting.
        values: plain JSON values, the configuration's own first.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def start(self) -> Any:
        """Of the first trial: the configuration's own value."""
        return self.values[0]

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    def __str__(self) -> str:
        return ", ".join(json.dumps(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """A number between two.

    Attributes:
        name: of the setting.
        low: the smallest value.
        high: the largest value.
        step: between two values; with `log`, the factor between them. None for any value.
        log: whether values are drawn evenly in their logarithm.
        whole: whether they are whole numbers.
        start: where the oracle places the first trial: at the configuration's value, or the end
            next to it; in the middle where it has none.
        takes_own: whether the first trial has the configuration's own value, even where the range
            does not hold it.
    """

    name: str
    low: float
    high: float
    step: float | None
    log: bool
    whole: bool
    start: float
    takes_own: bool

    @property
    def values(self) -> tuple[float, float]:
        """Both ends."""
        return (self.low, self.high)

    @property
    def count(self) -> int | None:
        """How many values there are; None for more than can be counted."""
        if self.step is None:
            return round(self.high - self.low) + 1 if self.whole else None
        if self.log:
            return int(math.log(self.high / self.low, self.step) + 1e-8) + 1
        return int((self.high - self.low) / self.step + 1e-8) + 1

    def within(self, value: float) -> float:
        """Return a drawn value as the setting takes it; rounding may have led it over an end."""
        inside = min(max(value, self.low), self.high)
        if self.step is not None and not self.log:  # 0.3, not 0.1 + 0.2
            steps = round((inside - self.low) / self.step)
            inside = float(f"{self.low + steps * self.step:.12g}")
        return round(inside) if self.whole else float(inside)

    def __str__(self) -> str:
        kind = " in its logarithm" if self.log else ""
        step = "" if self.step is None else f", {'times' if self.log else 'by'} {self.step:g}"
        return f"{self.low:g} to {self.high:g}{kind}{step}"


Dimension = Choice | Range


@dataclass(frozen=True)
class Space:
    """What is varied around a configuration.

    Attributes:
        config: what all trials have in common.
        dimensions: the settings that are varied.
    """

    config: Config
    dimensions: tuple[Dimension, ...]

    @property
    def combinations(self) -> int | None:
        """How many there are; None for more than can be counted."""
        counts = [dimension.count for dimension in self.dimensions]
        return None if None in counts else math.prod(count for count in counts if count)

    def __str__(self) -> str:
        lines = [f"{dimension.name}: {dimension}" for dimension in self.dimensions]
        count = "no end of" if self.combinations is None else f"{self.combinations:,}"
        note = [f"note: {self.note}"] if self.note else []
        return "\n".join([*lines, f"{len(lines)} settings, {count} combinations", *note])

    @property
    def own(self) -> dict[str, Any]:
        """The configuration's own value of each setting, as plain JSON."""
        settings = flat(self.config.to_dict())
        return {name: settings[name] for name in self.names}

    @property
    def without_own(self) -> tuple[Range, ...]:
        """The ranges in which the first trial cannot have the configuration's own value."""
        return tuple(
            one for one in self.dimensions if isinstance(one, Range) and not one.takes_own
        )

    @property
    def note(self) -> str:
        """A sentence where no trial is that of the configuration as given; else empty."""
        if not self.without_own:
            return ""
        own = self.own
        begin = [
            f"{one.name} begins at {one.start:g} instead of {json.dumps(own[one.name])}"
            for one in self.without_own
        ]
        return (
            f"search.space does not hold all of the configuration's own values, so that no trial "
            f"is the configuration as given: {'; '.join(begin)}"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the settings."""
        return tuple(dimension.name for dimension in self.dimensions)

    def applied(self, drawn: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
        """Return the configuration with drawn values, and which of them it has.

        What does not go with the others, as `training.last_layers` with an encoder that a strategy
        keeps frozen, is left at the configuration's own value. Values are taken in the order of the
        space, and again as long as one more is accepted: `training.last_layers` may stand before
        the strategy that it needs.

        Args:
            drawn: by the setting's name.
        """
        config, taken = self.config, {}
        waiting = [name for name in self.names if name in drawn]
        went_on = True
        while waiting and went_on:
            went_on = False
            for name in tuple(waiting):
                try:
                    config = with_settings(self.config, {**taken, name: drawn[name]})
                except ConfigError:
                    continue
                taken[name] = drawn[name]
                waiting.remove(name)
                went_on = True
        return config, taken


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return `config` with other values.

    Args:
        config: any.
        settings: values by dotted name, as a YAML file has them.

    Raises:
        TransferError: a value, or the whole, is refused.
    """
    return config_from_dict(nested({**flat(config.to_dict()), **settings}))
