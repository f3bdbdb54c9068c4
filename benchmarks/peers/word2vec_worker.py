"""gensim's word2vec with its defaults: arguments CORPUS FOLDER TASK.

CORPUS has a text on each line, its words parted by spaces. TASK is JSON: `dimensions`, `vocabulary`
and `seed`. After each epoch FOLDER/EPOCH.npz is written, with the vectors, float32[V, D], and their
counts; FOLDER/words.txt has the words, and FOLDER/answer.json, last of all, the seconds from the
first line read to the end of each epoch, what was written in between not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gensim.models import Word2Vec
from gensim.models.callbacks import CallbackAny2Vec

from benchmarks.table import installed_versions


class Epochs(CallbackAny2Vec):  # type: ignore[misc]
    """Keeps the vectors that there are after each epoch."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._writing = 0.0
        self._began = time.perf_counter()
        self.seconds: list[float] = []

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Write the vectors."""
        now = time.perf_counter()
        self.seconds.append(now - self._began - self._writing)
        counts = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
        np.savez(self._folder / f"{len(self.seconds)}.npz", vectors=model.wv.vectors, counts=counts)
        self._writing += time.perf_counter() - now


def main() -> None:
    """Train as the task says."""
    corpus, folder, task = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    epochs = Epochs(folder)
    # two threads, as there are cores, and gensim's way of reading a file that keeps them busy;
    # min_count is 5 by default, as ours
    model = Word2Vec(
        corpus_file=corpus,
        vector_size=task["dimensions"],
        max_final_vocab=task["vocabulary"],
        seed=task["seed"],
        workers=2,
        callbacks=[epochs],
    )
    words = "".join(f"{word}\n" for word in model.wv.index_to_key)
    (folder / "words.txt").write_text(words, encoding="utf-8")
    answer = {"seconds": epochs.seconds, "versions": installed_versions(("gensim",))}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
