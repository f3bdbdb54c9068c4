"""Chunks of word pieces -> the batches of a masked language model, each a function of its number.

Nothing of the order, the pairs and the masks is remembered from one batch to the next: all is drawn
with the seed, the epoch and the batch's number, so that a resumed training goes on as if it had not
been interrupted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tfhub_transfer.errors import DataError
from tfhub_transfer.pretraining.mlm.chunks import Chunks
from tfhub_transfer.pretraining.mlm.masking import choose, hide
from tfhub_transfer.pretraining.mlm.piece_vocabulary import PieceVocabulary
from tfhub_transfer.pretraining.mlm.settings import MlmConfig

__all__ = ["Batch", "Batches", "divide"]

_WINDOW = 50  # batches among which rows are sorted by length


class Batch(NamedTuple):
    """A step's rows.

    Attributes:
        inputs: input_word_ids, input_mask and input_type_ids, int32[B, S]; S is the longest row's.
        places: int32[M], where in the B * S tokens the pieces to guess are.
        pieces: int32[M], what they are.
        follows: int32[B], 1 where the second part of a pair is what follows the first in its text.
    """

    inputs: dict[str, np.ndarray]
    places: np.ndarray
    pieces: np.ndarray
    follows: np.ndarray


def divide(
    chunks: Chunks, held_out: int, seed: int, *, paired: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the chunks to train on and of those to measure on.

    No text is in both. Of texts that are longer than what is to be measured on, the rest is in
    neither.

    Args:
        chunks: of all texts.
        held_out: chunks to measure on, at most; not more than a tenth of all, but one of each text
            that is needed.
        seed: of the draw.
        paired: whether chunks are paired with those of another text, so that either part needs two.

    Raises:
        DataError: there are too few texts.
    """
    texts, sizes = np.unique(chunks.texts, return_counts=True)
    least = 2 if paired else 1
    if len(texts) < 2 * least:
        raise DataError(
            f"A masked language model needs {2 * least} texts at least"
            f"{' with --next_sentence' if paired else ''}, half of them to be held out. "
            f"Received: {len(texts)}"
        )
    order = np.random.default_rng(seed).permutation(len(texts))
    before = np.cumsum(sizes[order]) - sizes[order]
    wanted = max(least, min(held_out, len(chunks) // 10))
    enough = before >= wanted
    enough[:least] = False
    enough[-least:] = True  # what stays to train on, however long the others are
    apart = np.isin(chunks.texts, texts[order[~enough]])
    measured = np.flatnonzero(apart)
    # from the first to the last, which are of different texts where there are two
    places = np.linspace(0, len(measured) - 1, min(wanted, len(measured))).astype(int)
    return np.flatnonzero(~apart), measured[places]


class Batches:
    """The batches of some chunks.

    Args:
        chunks: all there are.
        numbers: int64[N], of those that are used, rising.
        vocabulary: of the pieces.
        config: its masks, pairs, batch size and seed are used.
        max_tokens: of a row.
    """

    def __init__(
        self,
        chunks: Chunks,
        numbers: np.ndarray,
        vocabulary: PieceVocabulary,
        config: MlmConfig,
        max_tokens: int,
    ):
        self._chunks, self._numbers, self._vocabulary = chunks, numbers, vocabulary
        self._config, self._max_tokens = config, max_tokens
        self._begins, self._others = vocabulary.begins_word, vocabulary.ordinary
        self._lengths = chunks.lengths[numbers]
        self._texts = chunks.texts[numbers]
        self._epoch, self._order = -1, [np.empty(0, np.int64)]
        self.per_epoch = math.ceil(len(numbers) / config.batch_size)

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step, counted through all epochs from 0."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._ordered(epoch)
        random = np.random.default_rng([self._config.seed, epoch, number])
        return self._batch(self._order[number], random)

    def _ordered(self, epoch: int) -> list[np.ndarray]:
        """Return the rows of each batch: drawn, with rows of like length together."""
        random = np.random.default_rng([self._config.seed, epoch])
        drawn, size = random.permutation(len(self._numbers)), self._config.batch_size
        batches = []
        for start in range(0, len(drawn), _WINDOW * size):
            window = drawn[start : start + _WINDOW * size]
            window = window[np.argsort(self._lengths[window], kind="stable")]
            batches += [window[i : i + size] for i in range(0, len(window), size)]
        return [batches[place] for place in random.permutation(len(batches))]

    def _batch(self, rows: np.ndarray, random: np.random.Generator) -> Batch:
        if self._config.next_sentence:
            pairs = [self._pair(int(row), random) for row in rows]
        else:
            pairs = [((self._chunks.read(int(self._numbers[row]))[0],), 0) for row in rows]
        special = self._vocabulary.special
        ends = 1 + len(pairs[0][0])
        width = max(sum(map(len, parts)) for parts, _ in pairs) + ends
        ids = np.full((len(rows), width), special.padding, np.int32)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        places, pieces = [], []
        for row, (parts, _) in enumerate(pairs):
            ids[row, 0] = special.start
            at = 1
            content = []
            for kind, part in enumerate(parts):
                content.append(np.arange(at, at + len(part)))
                ids[row, content[-1]] = part
                ids[row, at + len(part)] = special.end
                types[row, at : at + len(part) + 1] = kind
                at += len(part) + 1
            mask[row, :at] = 1
            inner = np.concatenate(content)
            begins = self._begins[ids[row, inner]]
            if not self._config.whole_words:
                begins = np.ones_like(begins)
            chosen = inner[choose(begins, self._config.mask_share, random)]
            places.append(row * width + chosen)
            pieces.append(ids[row, chosen])
            ids[row, chosen] = hide(pieces[-1], self._vocabulary.mask, self._others, random)
        return Batch(
            {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types},
            np.concatenate(places).astype(np.int32),
            np.concatenate(pieces),
            np.array([follows for _, follows in pairs], np.int32),
        )

    def _pair(
        self, row: int, random: np.random.Generator
    ) -> tuple[tuple[np.ndarray, np.ndarray], int]:
        """Return two parts of a row, and whether they follow each other in a text.

        Parts end with a sentence; where there is only one, in the middle. (Devlin et al. 2018,
        section 3.1 and appendix A.2, whose segments are of whole sentences too.)
        """
        ids, sentences = self._chunks.read(int(self._numbers[row]))
        cut = int(random.choice(_cuts(sentences, self._begins[ids])))
        first, second = ids[:cut], ids[cut:]
        if random.random() < 0.5:
            return (first, second), 1
        # a chunk of another text, from a sentence on
        low, high = np.searchsorted(self._texts, [self._texts[row], self._texts[row] + 1])
        other = int(random.integers(len(self._texts) - (high - low)))
        other += high - low if other >= low else 0
        ids, sentences = self._chunks.read(int(self._numbers[other]))
        begin = int(random.choice(np.append(0, np.flatnonzero(sentences))))
        return (first, ids[begin : begin + self._max_tokens - 3 - len(first)]), 0


def _cuts(sentences: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return where a chunk may be cut in two, given where sentences and words begin in it."""
    places = np.flatnonzero(sentences[1:]) + 1
    if len(places):
        return places
    places = np.flatnonzero(words[1:]) + 1
    middle = len(words) // 2
    if len(places):
        return places[[np.argmin(np.abs(places - middle))]]
    return np.array([middle])
