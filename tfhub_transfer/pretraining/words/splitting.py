"""What a word is: the same in plain Python, where words are counted, and in the exported graph.

Characters that belong to no word become spaces, the text is lower-cased, and spaces part the words,
much as in TF Hub's nnlm and swivel modules. Both forms of the character class are written from one
list of ranges, for the regular expressions of Python and of TensorFlow know different versions of
Unicode.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["NORMALIZATIONS", "Normalization", "graph_splitter", "splitter"]

Normalization = Literal["none", "punctuation", "lower_case"]
NORMALIZATIONS: tuple[Normalization, ...] = ("none", "punctuation", "lower_case")
"""`none` parts text at white space; `punctuation` also takes away punctuation and symbols;
`lower_case` lower-cases as well."""

Ranges = tuple[tuple[int, int], ...]


def splitter(normalization: Normalization) -> Callable[[str], list[str]]:
    """Return a function from a text to its words."""
    pattern = re.compile(_python_class(_ranges(normalization != "none")))
    lower = normalization == "lower_case"

    def spaced(text: str) -> str:
        with_spaces = pattern.sub(" ", text)
        return with_spaces.lower() if lower else with_spaces

    # many texts are ASCII, where a table does the same six times as fast
    table = {point: spaced(chr(point)) for point in range(128)}

    def split(text: str) -> list[str]:
        if text.isascii():
            return text.translate(table).split()
        return [word for word in spaced(text).split(" ") if word]

    return split


def graph_splitter(normalization: Normalization) -> Callable[[tf.Tensor], tf.RaggedTensor]:
    """Return a function from texts, string[B], to their words, string[B, (W)].

    It consists of core TensorFlow ops alone, so that any server can run a graph that has it.
    """
    import tensorflow as tf  # counting words does without it

    pattern = _graph_class(_ranges(normalization != "none"))
    lower = normalization == "lower_case"

    def split(text: tf.Tensor) -> tf.RaggedTensor:
        spaced = tf.strings.regex_replace(text, pattern, " ")
        if lower:
            # TensorFlow lower-cases by the process's locale: in a Turkish one I would become a
            # dotless i, and no longer be what the vocabulary was made with
            spaced = tf.strings.regex_replace(spaced, "I", "i")
            spaced = tf.strings.regex_replace(spaced, "\u0130", "i\u0307")
            # after the control characters are gone: at a NUL it would end the text
            spaced = tf.strings.lower(spaced, encoding="utf-8")
        return tf.strings.split(spaced)

    return split


@functools.cache
def _ranges(punctuation: bool) -> Ranges:
    """Return the code points that part words, as ranges with both ends, in their order.

    White space is what Unicode calls separators (Z) and the control characters; punctuation is P,
    and symbols are S.
    """
    categories = ("Z", "P", "S") if punctuation else ("Z",)
    ranges: list[tuple[int, int]] = []
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        if not (category.startswith(categories) or category == "Cc"):
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1] = (ranges[-1][0], point)
        else:
            ranges.append((point, point))
    return tuple(ranges)


def _python_class(ranges: Ranges) -> str:
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"


def _graph_class(ranges: Ranges) -> str:
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"
