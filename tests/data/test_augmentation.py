"""Words left out and out of place."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.data.augmentation import augment

WORDS = [f"w{n}" for n in range(2000)]
TEXT = " ".join(WORDS)


def changed(text: str, position: int = 0, **settings) -> list[str]:
    settings = {"seed": 0, "epoch": 0, **settings}
    (result,) = augment([text], np.array([position]), **settings)
    return result.split()


def test_nothing_changes_by_default():
    assert augment([" a  b "], np.array([0]), seed=0, epoch=0) == [" a  b "]


def test_the_share_of_words_is_left_out_in_order():
    left = changed(TEXT, dropout=0.3)
    assert len(left) / len(WORDS) == pytest.approx(0.7, abs=0.04)
    assert left == [word for word in WORDS if word in set(left)]


def test_the_share_of_words_changes_places_with_a_neighbour():
    moved = changed(TEXT, swap=0.4)
    assert sorted(moved) == sorted(WORDS)
    distances = [abs(int(word[1:]) - place) for place, word in enumerate(moved)]
    assert set(distances) == {0, 1}
    assert np.mean(distances) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("text", ["", "word", " word ", "文章没有空格", "  "])
def test_a_single_word_stays_as_it_is(text):
    assert augment([text], np.array([3]), seed=1, epoch=1, dropout=0.9, swap=0.9) == [text]


def test_no_text_is_emptied():
    texts = ["good film"] * 500
    results = augment(texts, np.arange(500), seed=0, epoch=0, dropout=0.9)
    assert {"good", "film"} <= set(results) <= {"good", "film", "good film"}


def test_a_text_depends_on_position_seed_and_epoch_alone():
    texts = [f"{TEXT} {n}" for n in range(4)]
    settings = {"seed": 5, "epoch": 2, "dropout": 0.2, "swap": 0.2}
    together = augment(texts, np.arange(4), **settings)
    backwards = augment(texts[::-1], np.arange(4)[::-1], **settings)
    assert together == backwards[::-1]
    results = {
        " ".join(changed(TEXT, **{**settings, **other}))
        for other in ({}, {"position": 1}, {"seed": 6}, {"epoch": 3})
    }
    assert len(results) == 4
