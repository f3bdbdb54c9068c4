"""The sentences of a text, as next-sentence prediction needs them: roughly."""

from __future__ import annotations

import re

__all__ = ["split_sentences"]

# A mark that ends a sentence, what closes with it, and then white space; or, in scripts that write
# without spaces, the mark alone. Line breaks end sentences too.
_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|(?<=[。！？।])\s*|\n\s*|<br\s*/?>\s*""")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, none of them empty.

    A mark that closes with a sentence, as a quote, stays with it. "Dr. No" becomes two: for pairs
    of neighbours to train on, that costs little.
    """
    sentences, start = [], 0
    for end in _END.finditer(text):
        closing = end[0].rstrip() if not end[0].lstrip().startswith("<") else ""
        sentences.append(text[start : end.start()] + closing)
        start = end.end()
    sentences.append(text[start:])
    return [stripped for sentence in sentences if (stripped := sentence.strip())]
