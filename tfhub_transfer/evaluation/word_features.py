"""What a tagger without an encoder can see of a word: its shape, its ends, and its neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["shape", "word_features"]

_AFFIXES = (1, 2, 3, 4)
_REPEATED = re.compile(r"(.)\1+")


def shape(word: str) -> str:
    """Return the word with its letters and digits by their kind, and what repeats only once.

    `DC-10` is `X-d`, `McDonald` is `XxXx` (Collins 2002, "Ranking Algorithms for Named-Entity
    Extraction", section 3.1).
    """
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word
    )
    return _REPEATED.sub(r"\1", "".join(kinds))


def word_features(words: Sequence[str]) -> list[list[str]]:
    """Return for each word of a sentence what is true of it, as strings.

    The word in lower case, its shape, its prefixes and suffixes of up to four characters; words
    and shapes of two neighbours to each side, and pairs with the next ones; ends of the sentence.
    """
    lower = [word.lower() for word in words]
    shapes = [shape(word) for word in words]
    return [_of_word(lower, shapes, position) for position in range(len(words))]


def _of_word(lower: list[str], shapes: list[str], position: int) -> list[str]:
    word = lower[position]
    found = ["bias", f"w={word}", f"s={shapes[position]}"]
    for size in _AFFIXES:
        if len(word) > size:
            found += [f"p={word[:size]}", f"e={word[-size:]}"]
    for offset in (-2, -1, 1, 2):
        place = position + offset
        if 0 <= place < len(lower):
            found += [f"w{offset:+}={lower[place]}", f"s{offset:+}={shapes[place]}"]
        elif abs(offset) == 1:
            found.append(f"end{offset:+}")
    if position:
        found.append(f"s-1,0={shapes[position - 1]} {shapes[position]}")
        found.append(f"w-1,0={lower[position - 1]} {word}")
    if position + 1 < len(lower):
        found.append(f"s0,1={shapes[position]} {shapes[position + 1]}")
        found.append(f"w0,1={word} {lower[position + 1]}")
    return found
