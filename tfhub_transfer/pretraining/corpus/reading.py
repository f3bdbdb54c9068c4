"""Going through a corpus with a line that tells the time left."""

from __future__ import annotations

from collections.abc import Iterator

from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.progress import progress

__all__ = ["read"]


def read(corpus: Corpus, what: str) -> Iterator[list[str]]:
    """Yield the batches of a corpus, counting its bytes.

    Args:
        corpus: of texts.
        what: is done with them, as in "Counting words".
    """
    past = 0
    with progress(what, "bytes", corpus.size) as advance:
        for texts in corpus.batches():
            yield texts
            advance(corpus.done - past)
            past = corpus.done
