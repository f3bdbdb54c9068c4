"""The feature cache; nothing here needs TensorFlow."""

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
from tfhub_transfer.encoders import cache
from tfhub_transfer.encoders.cache import FeatureCache, features_dir
from tfhub_transfer.errors import CacheError

WIDTH = 4
PRINT = "f" * 64


def encode(texts: Sequence[str]) -> np.ndarray:
    """Any function of the text will do."""
    vectors = [
        np.frombuffer(hashlib.sha256(text.encode()).digest()[: 4 * WIDTH], np.int32)
        for text in texts
    ]
    return np.array(vectors, np.float32).reshape(len(texts), WIDTH)


class Counting:
    """Encodes, and remembers what."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.extend(texts)
        return encode(texts)


def opened(root: Path, fingerprint: str = PRINT, **options: str) -> FeatureCache:
    return FeatureCache.open(fingerprint, width=WIDTH, root=root, **options)


def check_holds(features: FeatureCache, texts: Sequence[str]) -> None:
    """Adding `texts` again encodes none of them and gives the right vectors."""
    counting = Counting()
    rows = features.add([texts], counting)
    assert counting.texts == []
    np.testing.assert_array_equal(features.read(rows), encode(texts))


def files(root: Path) -> tuple[Path, Path]:
    (vectors,) = root.glob("*/vectors.f32")
    return vectors, vectors.with_name("keys.b16")


class TestWhatGoesInComesOut:
    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.booleans(), st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=4)
            ),
            max_size=6,
        )
    )
    def test_whatever_is_added_in_whatever_order(
        self, additions: list[tuple[bool, list[list[str]]]]
    ) -> None:
        with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "_BATCH", 3)
            patch.setattr(os, "fsync", lambda descriptor: None)  # a busy disk takes its time
            root = Path(directory)
            features = opened(root)
            known: set[str] = set()
            for reopen, batches in additions:
                if reopen:
                    features = opened(root)
                texts = [text for batch in batches for text in batch]
                counting = Counting()
                rows = features.add(batches, counting, total=len(texts))
                assert rows.dtype == np.int64
                np.testing.assert_array_equal(features.read(rows), encode(texts))
                # each distinct text once, ever
                assert sorted(counting.texts) == sorted(set(texts) - known)
                known |= set(texts)
                assert len(features) == len(known)
            gc.collect()

    def test_many_batches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "_BATCH", 64)
        texts = [f"text {number % 700}" for number in range(3000)]
        random.Random(0).shuffle(texts)
        features = opened(tmp_path)
        rows = features.add((texts[i : i + 50] for i in range(0, 3000, 50)), encode)
        assert len(features) == 700
        np.testing.assert_array_equal(features.read(rows), encode(texts))
        check_holds(opened(tmp_path), texts)

    def test_nothing(self, tmp_path: Path) -> None:
        features = opened(tmp_path)
        assert len(features) == 0
        for batches in ([], [[]]):
            rows = features.add(batches, encode)
            assert rows.shape == (0,)
            assert features.read(rows).shape == (0, WIDTH)

    def test_rows_in_any_order_and_more_than_once(self, tmp_path: Path) -> None:
        texts = [str(number) for number in range(10)]
        features = opened(tmp_path)
        rows = features.add([texts], encode)
        wanted = [3, 3, 9, 0, 1, 2, 9, 8, 3]
        expected = encode([texts[position] for position in wanted])
        np.testing.assert_array_equal(features.read(rows[wanted]), expected)

    def test_what_is_read_is_the_readers_own(self, tmp_path: Path) -> None:
        features = opened(tmp_path)
        rows = features.add([["a"]], encode)
        features.read(rows)[:] = 0
        np.testing.assert_array_equal(features.read(rows), encode(["a"]))

    def test_encoders_and_precisions_are_kept_apart(self, tmp_path: Path) -> None:
        opened(tmp_path).add([["a"]], encode)
        for other in (opened(tmp_path, "e" * 64), opened(tmp_path, precision="bfloat16")):
            assert len(other) == 0
            doubled = other.read(other.add([["a"]], lambda texts: 2 * encode(texts)))
            np.testing.assert_array_equal(doubled, 2 * encode(["a"]))
        assert len([*tmp_path.iterdir()]) == 3
        check_holds(opened(tmp_path), ["a"])

    def test_it_is_where_the_environment_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(tmp_path))
        FeatureCache.open(PRINT, width=WIDTH).add([["a"]], encode)
        assert features_dir() == tmp_path / "features"
        check_holds(opened(tmp_path / "features"), ["a"])

    def test_the_files_are_plain_numbers(self, tmp_path: Path) -> None:
        texts = ["a", "b", "c"]
        rows = opened(tmp_path).add([texts], encode)
        vectors, keys = files(tmp_path)
        raw = np.fromfile(vectors, "<f4").reshape(-1, WIDTH)
        np.testing.assert_array_equal(raw[rows], encode(texts))
        assert keys.stat().st_size == 16 * len(texts)
        about = json.loads(vectors.with_name("about.json").read_text(encoding="utf-8"))
        assert about == {"layout": 1, "encoder": PRINT, "precision": "float32", "width": WIDTH}
        names = {path.name for path in vectors.parent.iterdir()}
        assert names - {".lock"} == {"about.json", "vectors.f32", "keys.b16"}

    def test_memory_stays_bounded(self, tmp_path: Path) -> None:
        width, count = 1024, 50_000  # 205 MB
        features = FeatureCache.open(PRINT, width=width, root=tmp_path)
        row = np.ones(width, np.float32)
        rows = features.add(
            [[str(number) for number in range(count)]],
            lambda texts: np.broadcast_to(row, (len(texts), width)),
        )
        process = psutil.Process()
        gc.collect()
        before, most = process.memory_info().rss, 0
        shuffled = np.random.default_rng(0).permutation(rows)
        for first in range(0, count, 250):
            features.read(shuffled[first : first + 250])
            most = max(most, process.memory_info().rss)
        assert most - before < 50e6


CHILD = """
import sys
from pathlib import Path
from tests.encoders.test_cache import encode, opened
from tfhub_transfer.encoders import cache
cache._BATCH = 16
first, last = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
texts = [f"text {number}" for number in range(first, last)]
features = opened(Path(sys.argv[1]))
features.add([texts], encode)
print("done", flush=True)
"""


def child(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that waits for a line and then adds a range of texts."""
    return waiting(CHILD, root, first, last)


class TestOtherProcesses:
    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        count, chance = 4000, random.Random(7)
        sizes = []
        for _ in range(5):
            with child(tmp_path, 0, count) as process:
                go(process)
                # part of the way from what is there, so that some texts are left
                begun = sizes[-1] if sizes else 0
                size = 16 * (begun + chance.randrange(400))
                kill_past(process, tmp_path, "keys.b16", size)
            features = opened(tmp_path)
            sizes.append(len(features))
            everything = features.read(np.arange(len(features)))
            by_vector = {vector.tobytes() for vector in encode([f"text {n}" for n in range(count)])}
            assert {vector.tobytes() for vector in everything} <= by_vector
            assert len({vector.tobytes() for vector in everything}) == len(features)
        assert sizes == sorted(sizes)
        assert sizes[-1] > 0
        texts = [f"text {number}" for number in range(count)]
        counting = Counting()
        rows = opened(tmp_path).add([texts], counting)
        assert len(counting.texts) == count - sizes[-1]
        np.testing.assert_array_equal(opened(tmp_path).read(rows), encode(texts))

    def test_two_at_once_give_each_text_one_row(self, tmp_path: Path) -> None:
        with child(tmp_path, 0, 600) as one, child(tmp_path, 300, 900) as two:
            go(one)
            go(two)
            assert [process.wait(20) for process in (one, two)] == [0, 0]
        features = opened(tmp_path)
        assert len(features) == 900
        check_holds(features, [f"text {number}" for number in range(900)])

    def test_rows_that_another_one_added_since(self, tmp_path: Path) -> None:
        features, other = opened(tmp_path), opened(tmp_path)
        features.read(features.add([["a"]], encode))
        other.add([["b", "c"]], encode)
        assert len(features) == 3
        check_holds(features, ["c", "a", "b"])


class TestDamage:
    @pytest.fixture
    def texts(self, tmp_path: Path) -> list[str]:
        texts = [f"text {number}" for number in range(20)]
        opened(tmp_path).add([texts], encode)
        return texts

    @pytest.mark.parametrize("cut", [1, 15, 16, 17, 40])
    def test_keys_that_were_cut(self, tmp_path: Path, texts: list[str], cut: int) -> None:
        _, keys = files(tmp_path)
        os.truncate(keys, 16 * 20 - cut)
        features, counting = opened(tmp_path), Counting()
        assert len(features) == 20 - -(-cut // 16)
        rows = features.add([texts], counting)
        assert len(counting.texts) == -(-cut // 16)
        np.testing.assert_array_equal(features.read(rows), encode(texts))
        check_holds(opened(tmp_path), texts)

    def test_vectors_without_keys(self, tmp_path: Path, texts: list[str]) -> None:
        vectors, _ = files(tmp_path)
        with vectors.open("ab") as file:
            file.write(b"\x7f" * 37)
        features = opened(tmp_path)
        assert len(features) == 20
        rows = features.add([[*texts, "new"]], encode)
        np.testing.assert_array_equal(features.read(rows), encode([*texts, "new"]))

    @pytest.mark.parametrize("left", [0, 1, 16 * 7, 16 * 7 + 5])
    def test_vectors_that_were_cut(self, tmp_path: Path, texts: list[str], left: int) -> None:
        vectors, _ = files(tmp_path)
        os.truncate(vectors, left)
        features, counting = opened(tmp_path), Counting()
        rows = features.add([texts], counting)
        assert len(counting.texts) == 20 - left // (4 * WIDTH)
        np.testing.assert_array_equal(features.read(rows), encode(texts))
        check_holds(opened(tmp_path), texts)

    @pytest.mark.parametrize("fails_at", [1, 2])
    def test_a_full_disk(
        self, tmp_path: Path, texts: list[str], fails_at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = iter(range(1, 100))

        def full(descriptor: int) -> None:
            if next(calls) == fails_at:
                raise OSError(errno.ENOSPC, "No space left on device")

        features = opened(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            message = r"No space left on device\); the 20 vectors in it are kept.*Received: .*"
            with pytest.raises(CacheError, match=message):
                features.add([["new", *texts]], encode)
        for again in (features, opened(tmp_path)):
            check_holds(again, texts)
        rows = features.add([["new", *texts]], encode)
        np.testing.assert_array_equal(features.read(rows), encode(["new", *texts]))
        assert len(opened(tmp_path)) == 21

    def test_a_crash_of_the_encoder_keeps_the_batches_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "_BATCH", 10)

        def crash(texts: Sequence[str]) -> np.ndarray:
            if "15" in texts:
                raise RuntimeError("crash")
            return encode(texts)

        numbers = [str(number) for number in range(30)]
        with pytest.raises(RuntimeError, match="crash"):
            opened(tmp_path).add([numbers], crash)
        assert len(opened(tmp_path)) == 10
        check_holds(opened(tmp_path), numbers[:10])


class TestRefusals:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_vectors_that_are_no_numbers(self, tmp_path: Path, value: float) -> None:
        features = opened(tmp_path)

        def broken(texts: Sequence[str]) -> np.ndarray:
            vectors = encode(texts)
            vectors[-1, -1] = value
            return vectors

        with pytest.raises(CacheError, match=r"must be finite .*float32\[2, 4\] with NaN or inf"):
            features.add([["a", "b"]], broken)
        assert len(features) == 0

    @pytest.mark.parametrize(
        ("vectors", "received"),
        [
            (np.zeros((2, 3), np.float32), r"float32\[2, 3\]"),
            (np.zeros((1, 4), np.float32), r"float32\[1, 4\]"),
            (np.zeros((2, 4), np.float64), r"float64\[2, 4\]"),
            (np.zeros((2, 4), np.float16), r"float16\[2, 4\]"),
        ],
    )
    def test_vectors_of_another_form(
        self, tmp_path: Path, vectors: np.ndarray, received: str
    ) -> None:
        features = opened(tmp_path)
        with pytest.raises(CacheError, match=rf"float32\[2, 4\]\. Received: {received}"):
            features.add([["a", "b"]], lambda texts: vectors)
        assert len(features) == 0

    @pytest.mark.parametrize(
        "about", ['{"layout": 1, "encoder": "other"}', "[]", "not JSON", "\x00", ""]
    )
    def test_a_directory_of_something_else(self, tmp_path: Path, about: str) -> None:
        opened(tmp_path)
        (file,) = tmp_path.glob("*/about.json")
        file.write_text(about, encoding="utf-8")
        with pytest.raises(CacheError, match=r"is of something else; delete it.*Received: "):
            opened(tmp_path)

    def test_rows_that_are_not_there(self, tmp_path: Path) -> None:
        features = opened(tmp_path)
        features.add([["a", "b"]], encode)
        with pytest.raises(CacheError, match=r"fewer rows than were asked for.* It has 2\. Rec"):
            features.read(np.array([0, 1, 2]))

    def test_another_width(self, tmp_path: Path) -> None:
        opened(tmp_path)
        with pytest.raises(CacheError, match=r"Accepted: .*'width': 5.*Received: .*'width': 4"):
            FeatureCache.open(PRINT, width=5, root=tmp_path)

    def test_a_place_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(CacheError, match=r"cannot be written to .*TFHUB_TRANSFER_CACHE_DIR"):
            opened(tmp_path / "file")

    def test_nothing_is_unpickled(self) -> None:
        source = Path(cache.__file__).read_text(encoding="utf-8")
        assert "pickle" not in source
        assert "np.load" not in source
