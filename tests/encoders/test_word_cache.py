"""The vectors of words on disk; nothing here needs TensorFlow."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders.other_processes import go, kill_past, waiting
from tfhub_transfer.encoders import word_cache
from tfhub_transfer.encoders.cache import FeatureCache
from tfhub_transfer.encoders.word_cache import WordCache
from tfhub_transfer.errors import CacheError

pytestmark = pytest.mark.slow

WIDTH = 4
PRINT = "f" * 64


def rows_of(text: str | tuple[str, str]) -> np.ndarray:
    """Return any function of the text, float16[(W), D]."""
    words = text.split() if isinstance(text, str) else [text[0], *text[1].split()]
    digests = [hashlib.sha256(repr((text, word)).encode()).digest() for word in words]
    numbers = [np.frombuffer(digest[:WIDTH], np.uint8) for digest in digests]
    return np.array(numbers, np.float16).reshape(len(words), WIDTH)


def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    rows = [rows_of(text) for text in texts]
    return np.concatenate(rows), np.array([len(one) for one in rows])


def padded(texts: Sequence[str]) -> np.ndarray:
    rows = [rows_of(text) for text in texts]
    result = np.zeros((len(rows), max([1, *map(len, rows)]), WIDTH), np.float32)
    for place, one in enumerate(rows):
        result[place, : len(one)] = one
    return result


class Counting:
    """Encodes, and remembers what."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.texts.extend(texts)
        return encode(texts)


def opened(root: Path, fingerprint: str = PRINT, **options: str) -> WordCache:
    return WordCache.open(fingerprint, width=WIDTH, root=root, **options)


def check_holds(cache: WordCache, texts: Sequence[str]) -> None:
    """Adding `texts` again encodes none of them and gives the right vectors."""
    counting = Counting()
    rows = cache.add([texts], counting)
    assert counting.texts == []
    np.testing.assert_array_equal(cache.read(rows), padded(texts))
    assert cache.lengths(rows).tolist() == [len(rows_of(text)) for text in texts]


def files(root: Path) -> tuple[Path, Path]:
    (rows,) = root.glob("*/words.f16")
    return rows, rows.with_name("texts.b24")


TEXTS = [" ".join(f"w{word}" for word in range(number % 6)) + f" {number}" for number in range(20)]


class TestWhatGoesInComesOut:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.lists(st.text("ab ", max_size=6), max_size=9))))
    def test_whatever_is_added_in_whatever_order(self, additions) -> None:
        with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            patch.setattr(word_cache, "_BATCH", 3)
            patch.setattr(os, "fsync", lambda descriptor: None)  # a busy disk takes its time
            root = Path(directory)
            cache = opened(root)
            known: set[str] = set()
            for reopen, texts in additions:
                if reopen:
                    cache = opened(root)
                counting = Counting()
                rows = cache.add([texts], counting, total=len(texts))
                assert rows.dtype == np.int64
                vectors = cache.read(rows)
                assert vectors.dtype == np.float32
                np.testing.assert_array_equal(vectors, padded(texts))
                assert sorted(counting.texts) == sorted(set(texts) - known)
                known |= set(texts)
                assert len(cache) == len(known)
            gc.collect()

    def test_long_texts_are_encoded_a_few_at_a_time(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(word_cache, "_CHARACTERS", 10)
        sizes = []

        def counted(texts):
            sizes.append(len(texts))
            return encode(texts)

        texts = ["a b c d e f", "a", "b", ("a b", "c d e f"), "c", "d"]
        opened(tmp_path).add([texts], counted)
        assert sizes == [1, 3, 2]

    def test_in_any_order_and_more_than_once(self, tmp_path: Path) -> None:
        cache = opened(tmp_path)
        rows = cache.add([TEXTS], encode)
        wanted = [3, 3, 9, 0, 1, 2, 9, 8, 3]
        np.testing.assert_array_equal(cache.read(rows[wanted]), padded([TEXTS[i] for i in wanted]))
        assert cache.read(rows[:0]).shape == (0, 1, WIDTH)

    def test_pairs_are_not_the_texts_that_they_look_like(self, tmp_path: Path) -> None:
        texts = [("a", "b c"), ("a b", "c"), '["a", "b c"]', ("", "")]
        cache = opened(tmp_path)
        rows = cache.add([texts], encode)
        assert len(set(rows.tolist())) == len(texts)
        check_holds(opened(tmp_path), texts)

    def test_kept_apart_from_others(self, tmp_path: Path) -> None:
        opened(tmp_path).add([["a"]], encode)
        FeatureCache.open(PRINT, width=WIDTH, root=tmp_path)
        for other in (opened(tmp_path, "e" * 64), opened(tmp_path, precision="bfloat16")):
            assert len(other) == 0
        assert len([*tmp_path.iterdir()]) == 4
        check_holds(opened(tmp_path), ["a"])

    def test_the_files_are_plain_numbers(self, tmp_path: Path) -> None:
        opened(tmp_path).add([["a b"]], encode)
        rows, texts = files(tmp_path)
        np.testing.assert_array_equal(np.fromfile(rows, "<f2").reshape(2, WIDTH), rows_of("a b"))
        assert texts.read_bytes()[16:] == (2).to_bytes(8, "little")
        about = json.loads(rows.with_name("about.json").read_text(encoding="utf-8"))
        assert about == {"layout": 1, "words_of": PRINT, "precision": "float32", "width": WIDTH}

    def test_memory_stays_bounded(self, tmp_path: Path) -> None:
        width, count, words = 512, 5_000, 20  # 102 MB
        cache = WordCache.open(PRINT, width=width, root=tmp_path)
        row = np.ones(width, np.float16)
        rows = cache.add(
            [[str(number) for number in range(count)]],
            lambda texts: (
                np.broadcast_to(row, (len(texts) * words, width)),
                np.full(len(texts), words),
            ),
        )
        process = psutil.Process()
        gc.collect()
        before, most = process.memory_info().rss, 0
        shuffled = np.random.default_rng(0).permutation(rows)
        for first in range(0, count, 32):
            cache.read(shuffled[first : first + 32])
            most = max(most, process.memory_info().rss)
        assert most - before < 30e6


CHILD = """
import sys
from pathlib import Path
from tests.encoders.test_word_cache import encode, opened
from tfhub_transfer.encoders import word_cache
word_cache._BATCH = 16
first, last = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
opened(Path(sys.argv[1])).add([[f"text no {n}" for n in range(first, last)]], encode)
"""


def child(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that waits for a line and then adds a range of texts."""
    return waiting(CHILD, root, first, last)


class TestOtherProcesses:
    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        texts, chance = [f"text no {number}" for number in range(3000)], random.Random(7)
        known = {rows_of(text).tobytes() for text in texts}
        sizes = []
        for _ in range(4):
            with child(tmp_path, 0, len(texts)) as process:
                go(process)
                # part of the way from what is there, so that some texts are left
                begun = sizes[-1] if sizes else 0
                size = 24 * (begun + chance.randrange(400))
                kill_past(process, tmp_path, "texts.b24", size)
            cache = opened(tmp_path)
            sizes.append(len(cache))
            vectors = cache.read(np.arange(len(cache))).astype(np.float16)
            assert {one.tobytes() for one in vectors} <= known
            assert len({one.tobytes() for one in vectors}) == len(cache)
        assert sizes == sorted(sizes)
        assert sizes[-1] > 0
        counting = Counting()
        rows = opened(tmp_path).add([texts], counting)
        assert len(counting.texts) == len(texts) - sizes[-1]
        np.testing.assert_array_equal(opened(tmp_path).read(rows), padded(texts))

    def test_two_at_once_give_each_text_one_place(self, tmp_path: Path) -> None:
        with child(tmp_path, 0, 400) as one, child(tmp_path, 200, 600) as two:
            go(one)
            go(two)
            assert [process.wait(20) for process in (one, two)] == [0, 0]
        cache = opened(tmp_path)
        assert len(cache) == 600
        check_holds(cache, [f"text no {number}" for number in range(600)])

    def test_texts_that_another_one_added_since(self, tmp_path: Path) -> None:
        cache, other = opened(tmp_path), opened(tmp_path)
        cache.add([["a"]], encode)
        rows = other.add([["b", "c d"]], encode)
        np.testing.assert_array_equal(cache.read(rows), padded(["b", "c d"]))
        check_holds(cache, ["c d", "a", "b"])


class TestDamage:
    @pytest.fixture(autouse=True)
    def written(self, tmp_path: Path) -> None:
        opened(tmp_path).add([TEXTS], encode)

    @pytest.mark.parametrize("cut", [1, 23, 24, 25, 100])
    def test_records_that_were_cut(self, tmp_path: Path, cut: int) -> None:
        _, texts = files(tmp_path)
        os.truncate(texts, 24 * 20 - cut)
        cache, counting = opened(tmp_path), Counting()
        assert len(cache) == 20 - -(-cut // 24)
        rows = cache.add([TEXTS], counting)
        assert len(counting.texts) == -(-cut // 24)
        np.testing.assert_array_equal(cache.read(rows), padded(TEXTS))
        check_holds(opened(tmp_path), TEXTS)

    @pytest.mark.parametrize("left", [0, 1, 2 * WIDTH * 9, 2 * WIDTH * 30 + 5])
    def test_rows_that_were_cut(self, tmp_path: Path, left: int) -> None:
        rows_file, _ = files(tmp_path)
        os.truncate(rows_file, left)
        cache, counting = opened(tmp_path), Counting()
        kept = len(cache)
        assert kept < 20
        rows = cache.add([TEXTS], counting)
        assert len(counting.texts) == 20 - kept
        np.testing.assert_array_equal(cache.read(rows), padded(TEXTS))
        check_holds(opened(tmp_path), TEXTS)

    @pytest.mark.parametrize("fails_at", [1, 2])
    def test_a_full_disk(
        self, tmp_path: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = iter(range(1, 100))

        def full(descriptor: int) -> None:
            if next(calls) == fails_at:
                raise OSError(errno.ENOSPC, "No space left on device")

        cache = opened(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(CacheError, match=r"No space left .* the 20 texts in it are kept"):
                cache.add([["new one", *TEXTS]], encode)
        for again in (cache, opened(tmp_path)):
            check_holds(again, TEXTS)
        rows = cache.add([["new one", *TEXTS]], encode)
        np.testing.assert_array_equal(cache.read(rows), padded(["new one", *TEXTS]))
        assert len(opened(tmp_path)) == 21


class TestRefusals:
    @pytest.mark.parametrize(
        ("vectors", "lengths", "received"),
        [
            (np.zeros((3, WIDTH), np.float16), [1, 1], r"float16\[3, 4\] with 2 lengths"),
            (np.zeros((2, WIDTH), np.float16), [2], r"float16\[2, 4\] with 1 lengths"),
            (np.zeros((2, WIDTH), np.float32), [1, 1], r"float32\[2, 4\] with 2 lengths"),
            (np.full((2, WIDTH), np.inf, np.float16), [1, 1], r"with NaN or infinity in it"),
        ],
    )
    def test_what_no_encoder_gives(self, tmp_path, vectors, lengths, received) -> None:
        cache = opened(tmp_path)
        message = rf"of 2 texts must be finite.* Received: .*{received}"
        with pytest.raises(CacheError, match=message):
            cache.add([["a", "b"]], lambda texts: (vectors, np.array(lengths)))
        assert len(cache) == 0

    def test_texts_that_are_not_there(self, tmp_path: Path) -> None:
        cache = opened(tmp_path)
        cache.add([["a", "b"]], encode)
        with pytest.raises(CacheError, match=r"fewer rows than were asked for.* It has 2\. Rec"):
            cache.read(np.array([0, 1, 2]))

    def test_another_width(self, tmp_path: Path) -> None:
        opened(tmp_path)
        with pytest.raises(CacheError, match=r"Accepted: .*'width': 5.*Received: .*'width': 4"):
            WordCache.open(PRINT, width=5, root=tmp_path)
