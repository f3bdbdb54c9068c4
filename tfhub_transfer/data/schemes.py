"""Tags of words and the entities that they spell: IOB1, IOB2 and IOBES, read and written.

A tag is `O`, outside of any entity, or a prefix and the entity's type: `B-PER`, `I-fare_amount`.

- IOB1 (Ramshaw and Marcus 1995, arXiv cmp-lg/9505040; CoNLL-2003's files): `I-` on every word of an
  entity, and `B-` on its first only where an entity of the same type ends right before it.
- IOB2 (Ratnaparkhi 1998): `B-` on the first word of each entity, `I-` on the others.
- IOBES (also BIOES): as IOB2, but `E-` on the last word of an entity, and `S-` on that of an entity
  of one word.

All three are read by one rule, that of conlleval (Tjong Kim Sang and Buchholz 2000, CoNLL-2000's
script) with the `E-` and `S-` of seqeval's default mode. It also gives a meaning to every broken
sequence: an `I-` after `O`, or after another type, begins an entity.
"""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

__all__ = [
    "OUTSIDE",
    "PREFIXES",
    "Entity",
    "Scheme",
    "SchemeEvidence",
    "convert",
    "entities",
    "follows",
    "problem",
    "scheme_tags",
    "write",
]

Scheme = Literal["iob1", "iob2", "iobes"]

OUTSIDE = "O"
PREFIXES: dict[str, str] = {"iob1": "BI", "iob2": "BI", "iobes": "BIES"}
"""What may stand before the type, by scheme."""


class Entity(NamedTuple):
    """Words that belong together: their type, and the positions of the first and the last."""

    type: str
    first: int
    last: int


def problem(tag: str, scheme: str = "auto") -> str | None:
    """Return why `tag` is none of `scheme` (`auto`: of any), or None if it is one."""
    prefixes = PREFIXES["iobes" if scheme == "auto" else scheme]
    if tag == OUTSIDE or (len(tag) > 2 and tag[0] in prefixes and tag[1] == "-"):
        return None
    expected = ", ".join(f"{prefix}-TYPE" for prefix in prefixes)
    of = "" if scheme == "auto" else f" of {scheme.upper()}"
    return f"{tag!r} is no tag{of}: expected O, {expected}"


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities that the tags of a sentence spell, in order, whatever the scheme.

    An entity ends, and the next begins, between two words of which the first is an `E-` or `S-`,
    or the second a `B-` or `S-`, or whose types differ.

    Args:
        tags: of one sentence, each of which `problem` finds nothing in.
    """
    found = []
    first = 0
    before = OUTSIDE
    for position, tag in enumerate(itertools.chain(tags, [OUTSIDE])):
        if _apart(before, tag):
            if before != OUTSIDE:
                found.append(Entity(before[2:], first, position - 1))
            first = position
        before = tag
    return found


def write(found: Iterable[Entity], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence of `length` words that spell these entities in `scheme`.

    Args:
        found: the entities in order, none of which overlap.
        length: words in the sentence.
        scheme: `iob1`, `iob2` or `iobes`.
    """
    tags = [OUTSIDE] * length
    neighbour = ("", -1)  # the type of the entity before, and the word behind it
    for type, first, last in found:
        tags[first : last + 1] = [f"I-{type}"] * (last + 1 - first)
        if scheme != "iob1" or neighbour == (type, first):
            tags[first] = f"B-{type}"
        if scheme == "iobes":
            tags[last] = f"{'S' if first == last else 'E'}-{type}"
        neighbour = (type, last + 1)
    return tags


def convert(tags: Sequence[str], scheme: str) -> list[str]:
    """Return the tags that spell the same entities in `scheme`; no longer broken if they were."""
    return write(entities(tags), len(tags), scheme)


def scheme_tags(types: Iterable[str], scheme: str) -> tuple[str, ...]:
    """Return all tags that entities of these types may need: `O` first, then type by type."""
    prefixes = PREFIXES[scheme]
    return (OUTSIDE, *(f"{prefix}-{type}" for type in types for prefix in prefixes))


class SchemeEvidence:
    """Which scheme a file is in, by which tags follow which in it.

    The first word of an entity decides: `B-` on it, with no entity of its type before, is against
    IOB1, and `I-` on it against IOB2; an `E-` or `S-`, without which no entity ends in IOBES, is
    against both. A file in which nothing is against IOB1 or IOB2 has no entities at all: to take it
    for IOB2 is safe, and so is a wrong guess on a broken file, for all are read by one rule.
    """

    def __init__(self) -> None:
        self._follow: collections.Counter[tuple[str, str]] = collections.Counter()

    def add(self, tags: Sequence[str]) -> None:
        """Take the tags of one more sentence into account."""
        self._follow.update(itertools.pairwise(itertools.chain([OUTSIDE], tags, [OUTSIDE])))

    def violations(self, scheme: str) -> int:
        """Return how often a tag follows another that it cannot follow in `scheme`."""
        return sum(n for pair, n in self._follow.items() if not follows(*pair, scheme))

    @property
    def scheme(self) -> Scheme:
        """The scheme that fits best: IOBES if there is an `E-` or `S-`, else IOB2 or IOB1."""
        if any(tag[0] in "ES" for pair in self._follow for tag in pair):
            return "iobes"
        # the fewest violations, and IOB2 where there are equally many
        return "iob1" if self.violations("iob1") < self.violations("iob2") else "iob2"


def follows(before: str, tag: str, scheme: str) -> bool:
    """Return whether `tag` may stand right after `before` in `scheme`.

    Before the first word of a sentence and behind its last stands an `O`.
    """
    same = before[2:] == tag[2:] and OUTSIDE not in (before, tag)
    if scheme == "iob1":
        return tag[0] != "B" or same
    if scheme == "iob2":
        return tag[0] != "I" or same
    inside = before[0] in "BI"  # the entity before has to go on
    return (tag[0] in "IE" and same) if inside else tag[0] in "OBS"


@functools.lru_cache(maxsize=1 << 16)
def _apart(before: str, tag: str) -> bool:
    return before[0] in "ESO" or tag[0] in "BSO" or before[2:] != tag[2:]
