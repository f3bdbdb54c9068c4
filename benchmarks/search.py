"""What do forty trials of a head cost? banking77 with minilm-l6, encoding included.

Ours: `python -m tfhub_transfer.tune` with 40 random trials of the default space, from an empty
feature cache, without the retraining at the end. Beside it, Keras Tuner as its tutorials use it:
the frozen encoder is a layer of the model that `build` returns, and strings go through it in every
epoch. Of that one trial is run, of the default settings and two epochs; the second one's seconds,
times the epochs that our forty trials took in all, are its forty trials. That is an extrapolation,
and leaves out building the model forty times.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import data_dir, print_heading, print_table, reached, say

TRIALS = 40
PEER_EPOCHS = 2
TARGET = 15.0


def main() -> None:
    """Measure both and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    arguments.add_argument("--encoder", default="minilm-l6")
    arguments.add_argument("--trials", type=int, default=TRIALS)
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours, rows = _ours(folder, chosen)
        epoch, first = _peer(folder, chosen)
    epochs = sum(int(row["epochs"] or 0) for row in rows)
    encode = sum(float(row["encode_s"]) for row in rows)
    train = sum(float(row["train_s"]) for row in rows)
    scaled = epoch * epochs
    print_heading(
        f"{chosen.trials} trials of a head on banking77, {chosen.encoder}, encoding included"
    )
    print_table(
        ["", "Seconds", "Encoding, s", "Training, s", "Epochs in all", "Seconds per epoch"],
        [
            ["tfhub_transfer.tune", f"{ours:.1f}", f"{encode:.1f}", f"{train:.1f}",
             f"{epochs}", f"{train / max(1, epochs):.2f}"],
            ["Keras Tuner, encoder in the model", f"{scaled:,.0f} (extrapolated)", "", "",
             f"{epochs} ({PEER_EPOCHS} measured)", f"{epoch:.1f}"],
        ],
    )  # fmt: skip
    print_table(
        ["Times faster", "Target", "Reached"],
        [[f"{scaled / ours:.1f}", f">= {TARGET:g}", reached(scaled / ours >= TARGET)]],
    )
    print(
        f"Ours is the whole command but for the retraining, start-up of Python and TensorFlow "
        f"included. The peer's seconds per epoch are those of its second epoch; its first, which "
        f"also builds the graph, took {first:.1f} s."
    )


def _ours(folder: Path, chosen: argparse.Namespace) -> tuple[float, list[dict[str, str]]]:
    """Return the seconds until the trials were done, and their table."""
    run, begun = folder / "run", time.monotonic()
    say(f"{chosen.trials} trials of ours")
    command = [
        sys.executable, "-m", "tfhub_transfer.tune", "--run", str(run),
        "--trials", str(chosen.trials), "--tuner", "random", "--seeds", "1",
        "--search.compare", "false", "--encoder.name", chosen.encoder, "--encoder.offline",
        "--evaluation.baselines", "[]", *_data(chosen),
    ]  # fmt: skip
    table = run / "search" / "trials.csv"
    environment = {**os.environ, "TFHUB_TRANSFER_CACHE_DIR": str(folder / "cache")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not table.exists():  # it is written once, when all trials are done
        if process.poll() is not None:
            raise SystemExit(f"error: the search ended with exit code {process.returncode}")
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    process.terminate()
    process.wait()
    with table.open(encoding="utf-8", newline="") as lines:
        return seconds, list(csv.DictReader(lines))


def _data(chosen: argparse.Namespace) -> list[str]:
    source = ["--data.source", str(data_dir() / "text" / "banking77")]
    limit = ["--data.limit", str(chosen.limit)] if chosen.limit else []
    return [*source, "--data.label_column", "category", *limit]


def _peer(folder: Path, chosen: argparse.Namespace) -> tuple[float, float]:
    """Return the seconds of a later epoch and of the first one, of one trial of Keras Tuner."""
    say("one trial of Keras Tuner, the encoder in the model")
    from tfhub_transfer import cli

    cli.import_tensorflow()
    import keras
    import keras_tuner
    import tensorflow as tf

    from tfhub_transfer import DataConfig, HubLayer, load_data

    config = DataConfig(
        source=str(data_dir() / "text" / "banking77"), label_column="category", limit=chosen.limit
    )
    data = load_data(config, seed=0)
    classes = len(data.labels)

    def batches(examples: Any) -> tf.data.Dataset:
        pairs = (examples.texts(), examples.targets(classes))
        return tf.data.Dataset.from_tensor_slices(pairs).batch(64).prefetch(tf.data.AUTOTUNE)

    def build(hp: Any) -> keras.Model:
        text = keras.Input((), dtype="string")
        vector = HubLayer(chosen.encoder, offline=True, trainable=False)(text)
        rate = hp.Float("dropout", 0.0, 0.6, default=0.3)
        hidden = keras.layers.Dense(hp.Choice("units", [1024, 256, 64]), activation="relu")
        vector = hidden(keras.layers.Dropout(rate)(vector))
        outputs = keras.layers.Dense(classes, activation="softmax")(
            keras.layers.Dropout(rate)(vector)
        )
        model = keras.Model(text, outputs)
        optimizer = keras.optimizers.Adam(
            hp.Float("learning_rate", 2e-4, 2e-2, sampling="log", default=1e-3)
        )
        model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
        return model

    class Timed(keras.callbacks.Callback):
        """Keeps when epochs ended, though Keras Tuner copies it for each trial."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            ended.append(time.monotonic())

    ended: list[float] = []
    tuner = keras_tuner.RandomSearch(
        build, objective="val_loss", max_trials=1, directory=str(folder), project_name="peer"
    )
    ended.append(time.monotonic())
    tuner.search(
        batches(data.train),
        validation_data=batches(data.validation),
        epochs=PEER_EPOCHS,
        callbacks=[Timed()],
        verbose=0,
    )
    return ended[-1] - ended[-2], ended[1] - ended[0]


if __name__ == "__main__":
    main()
