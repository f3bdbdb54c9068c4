"""The shapes of words: their capitals, digits and marks, which an uncased vocabulary does not see.

Taggers over words in lower case are given such features beside each word's vector, for "US" is not
"us" (Collobert et al. 2011, JMLR 12, section 3.5; Chiu and Nichols 2016, TACL 4, section 2.4). They
look up a learnt vector for each feature. Here each is a number of 0 or 1, for which the layer
behind it learns a vector of weights, which is the same.

Regular expressions are RE2's, as in `words`.
"""

from __future__ import annotations

import hashlib

import tensorflow as tf

__all__ = ["SHAPES", "SHAPES_DIGEST", "word_shapes"]

_UPPER, _LOWER = r"\p{Lu}\p{Lt}", r"\p{Ll}"
_OTHER = f"[^{_UPPER}{_LOWER}]*"

# By name, what the whole of a word must match. It has at most one of the first five and at most one
# of the last three. Letters without case, as of Chinese or Arabic, have none.
SHAPES: dict[str, str] = {
    "lower": f"[^{_UPPER}]*[{_LOWER}][^{_UPPER}]*",  # film, don't, straße, mid-1990s
    "initial_capital": f"{_OTHER}[{_UPPER}][^{_UPPER}]*[{_LOWER}][^{_UPPER}]*",  # Paris, Don't
    "one_capital": f"{_OTHER}[{_UPPER}]{_OTHER}",  # A, J., F-16
    "all_capitals": f"[^{_LOWER}]*[{_UPPER}][^{_LOWER}]*[{_UPPER}][^{_LOWER}]*",  # EU, U.S., AT&T
    "mixed_case": (  # iPhone, McDonald, NATO-led, Anglo-Irish
        f".*[{_LOWER}].*[{_UPPER}].*|.*[{_UPPER}].*[{_UPPER}].*[{_LOWER}].*"
    ),
    "number": r"\P{L}*\p{N}\P{L}*",  # 7, 3,500, 10:30, 50%
    "letters_and_digits": r".*\p{L}.*\p{N}.*|.*\p{N}.*\p{L}.*",  # F-16, 1990s
    "marks": r"[^\p{L}\p{N}]+",  # a full stop, --, an emoji
}
# Of what shapes mean, for the keys of caches.
SHAPES_DIGEST = hashlib.sha256(repr(SHAPES).encode()).hexdigest()[:8]


def word_shapes(words: tf.Tensor) -> tf.Tensor:
    """Return the shapes of words; graph ops that TensorFlow Serving knows.

    Args:
        words: string[N], of `split_words`, which lets no text through that is no UTF-8.

    Returns:
        float32[N, S], 1 for each of `SHAPES`, in their order, that a word has, 0 for the others.
    """
    # a word may have a line break in it, where spaces alone part words
    found = [tf.strings.regex_full_match(words, f"(?s){shape}") for shape in SHAPES.values()]
    return tf.cast(tf.stack(found, axis=1), tf.float32)
