"""Batches of a masked language model."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.encoders.packing import SpecialTokens
from tfhub_transfer.errors import DataError
from tfhub_transfer.pretraining.mlm.batches import Batches, divide
from tfhub_transfer.pretraining.mlm.piece_vocabulary import SPECIAL, PieceVocabulary
from tfhub_transfer.pretraining.mlm.settings import MlmConfig

PIECES = (*SPECIAL, *(f"w{n}" for n in range(400)), *(f"##c{n}" for n in range(400)))
VOCABULARY = PieceVocabulary(PIECES, SpecialTokens(2, 3, 0), SPECIAL.index("[MASK]"))
MAX_TOKENS = 23


class Texts:
    """Chunks in memory: of each text 3, with numbers that tell text and place."""

    def __init__(self, texts: int, sentences: bool = True):
        random = np.random.default_rng(0)
        self.texts = np.repeat(np.arange(texts), 3)
        self.lengths = random.integers(4, MAX_TOKENS - 2, len(self.texts)).astype(np.int32)
        self._sentences = sentences

    def __len__(self):
        return len(self.texts)

    def read(self, index):
        length = self.lengths[index]
        ids = 5 + 20 * (int(self.texts[index]) % 20) + np.arange(length)
        ids[1::3] += 400  # each third piece goes on with its word
        begins = np.zeros(length, bool)
        begins[[0, length // 2] if self._sentences else []] = True
        return ids.astype(np.int32), begins


def config(**settings) -> MlmConfig:
    return MlmConfig(corpus=("none",), batch_size=4, **settings)


def made(chunks=None, numbers=None, **settings) -> Batches:
    chunks = chunks or Texts(20)
    numbers = np.arange(len(chunks)) if numbers is None else numbers
    return Batches(chunks, numbers, VOCABULARY, config(**settings), MAX_TOKENS)


def original(batch):
    """Return the ids as they were before they were hidden."""
    ids = batch.inputs["input_word_ids"].copy()
    ids.flat[batch.places] = batch.pieces
    return ids


def test_a_row_is_a_chunk_between_special_tokens_with_whole_words_hidden():
    chunks, batches = Texts(20), made()
    seen = []
    for step in range(batches.per_epoch):
        batch = batches(step)
        ids, mask = original(batch), batch.inputs["input_mask"]
        assert not batch.inputs["input_type_ids"].any() and not batch.follows.any()
        hidden = np.zeros(ids.shape, bool)
        hidden.flat[batch.places] = True
        for row, length in enumerate(mask.sum(1)):
            assert ids[row, 0] == 2 and ids[row, length - 1] == 3 and not ids[row, length:].any()
            content = ids[row, 1 : length - 1]
            seen.append(content.tolist())
            word = np.cumsum(~np.char.startswith(np.array(PIECES)[content], "##"))
            chosen = hidden[row, 1 : length - 1]
            assert chosen.any() and set(word[chosen]).isdisjoint(word[~chosen])
            assert not hidden[row, 0] and not hidden[row, length - 1 :].any()
    assert sorted(seen) == sorted(chunks.read(n)[0].tolist() for n in range(len(chunks)))


def test_what_is_seen_is_the_mask_another_piece_or_itself():
    batches = made()
    shown = np.concatenate(
        [b.inputs["input_word_ids"].flat[b.places] for b in map(batches, range(150))]
    )
    pieces = np.concatenate([b.pieces for b in map(batches, range(150))])
    assert abs((shown == 4).mean() - 0.8) < 0.05 and abs((shown == pieces).mean() - 0.1) < 0.05
    assert not np.isin(shown, [0, 1, 2, 3]).any()


def test_batches_are_a_function_of_their_number():
    one, other = made(next_sentence=True), made(next_sentence=True)
    for step in (17, 3, 40, 3):
        a, b = one(step), other(step)
        parts = ((*batch.inputs.values(), *batch[1:]) for batch in (a, b))
        for left, right in zip(*parts, strict=True):
            np.testing.assert_array_equal(left, right)
    first, later = original(one(0)), original(one(one.per_epoch))
    assert first.shape != later.shape or (first != later).any(), "another order"
    seeded = made(seed=1)
    assert any(seeded(n).pieces.tolist() != made()(n).pieces.tolist() for n in range(3))


def test_masks_change_with_the_epoch():
    chunks = Texts(1)
    batches = made(chunks, np.array([0]))
    assert len({tuple(batches(step).places) for step in range(10)}) > 3


def test_rows_of_like_length_are_together():
    batches = made(Texts(70))
    padding = [1 - batches(n).inputs["input_mask"].mean() for n in range(batches.per_epoch)]
    assert np.mean(padding) < 0.05


@pytest.mark.parametrize("sentences", [True, False])
def test_pairs_are_two_parts_of_a_chunk_or_of_two_texts(sentences):
    chunks = Texts(20, sentences)
    batches = made(chunks, next_sentence=True)
    follows = []
    for step in range(4 * batches.per_epoch):
        batch = batches(step)
        ids = original(batch)
        types, mask = batch.inputs["input_type_ids"], batch.inputs["input_mask"]
        for row in range(len(ids)):
            length = mask[row].sum()
            assert length <= MAX_TOKENS
            ends = np.flatnonzero(ids[row] == 3)
            assert len(ends) == 2 and ends[1] == length - 1
            np.testing.assert_array_equal(
                types[row], (np.arange(len(types[row])) > ends[0]) & (mask[row] == 1)
            )
            first, second = ids[row, 1 : ends[0]], ids[row, ends[0] + 1 : ends[1]]
            text = [{int((i - 5) % 400 // 20) for i in part} for part in (first, second)]
            assert len(first) and len(second) and len(text[0]) == len(text[1]) == 1
            assert (text[0] == text[1]) == batch.follows[row]
            if batch.follows[row]:
                place = (np.concatenate([first, second]) - 5) % 20
                np.testing.assert_array_equal(place, np.arange(len(place)))
        follows += batch.follows.tolist()
    assert 0.4 < np.mean(follows) < 0.6


def test_whole_texts_are_held_out():
    chunks = Texts(40)
    train, held = divide(chunks, 10, seed=0, paired=False)
    assert len(train) == 120 - 12 and len(held) == 10
    assert set(chunks.texts[train]).isdisjoint(chunks.texts[held])
    assert divide(chunks, 1000, 0, paired=False)[1].size == 12, "a tenth at most"
    assert divide(chunks, 10, 1, paired=False)[1].tolist() != held.tolist()
    assert [len(part) for part in divide(Texts(2), 1000, 0, paired=False)] == [3, 1]


@pytest.mark.parametrize("texts", [4, 5, 40])
@pytest.mark.parametrize("seed", range(5))
def test_either_part_has_two_texts_for_pairs(texts, seed):
    chunks = Texts(texts)
    for part in divide(chunks, 1, seed, paired=True):
        assert len(set(chunks.texts[part])) >= 2
        batches = made(chunks, part, next_sentence=True)
        for step in range(2 * batches.per_epoch):
            batches(step)


def test_too_few_texts():
    with pytest.raises(DataError, match=r"needs 2 texts at least, half.*Received: 1$"):
        divide(Texts(1), 10, 0, paired=False)
    with pytest.raises(DataError, match=r"needs 4 texts at least with --next_s.*Received: 3$"):
        divide(Texts(3), 10, 0, paired=True)


def test_special_and_unused_pieces_stand_for_nothing():
    pieces = PieceVocabulary(
        (*SPECIAL, "[unused0]", "[", "a", "##b"), SpecialTokens(2, 3, 0), 4
    )
    assert pieces.ordinary.tolist() == [6, 7, 8]
    assert pieces.begins_word.tolist() == [True] * 8 + [False]
