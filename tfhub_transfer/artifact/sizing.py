"""How a server should batch a model: measured on this machine, in a few seconds.

The settings are those of TensorFlow Serving's BatchingParameters
(servables/tensorflow/session_bundle_config.proto); batching/README.md tells what they do.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfhub_transfer.artifact import warmup
from tfhub_transfer.artifact.predictor import Text
from tfhub_transfer.errors import ArtifactError
from tfhub_transfer.progress import progress

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# A text that comes while a batch is computed waits for that batch and then for its own.
BATCH_SECONDS = 0.05
# A larger batch makes everybody in it wait longer, and should gain at least this for it.
GAIN = 1.1
# Whoever waits longer has given up or asked again, which makes the queue longer still.
QUEUE_SECONDS = 2.0
# What a lone client, with nobody to share a batch with, is made to wait for others at most.
TIMEOUT_MICROS = 2_000
# Of one request, where a queue has room for so many: the local server takes no more either.
LARGEST_REQUEST = 1024

_SECONDS = 3.0  # of all measurements together
_FEWEST_CALLS = 3
_MOST_CALLS = 50


@dataclass(frozen=True)
class Measurement:
    """What batches of one size took, one after the other.

    Attributes:
        batch_size: texts in a batch.
        seconds: of a batch, the median.
    """

    batch_size: int
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """How many texts are answered in a second."""
        return self.batch_size / self.seconds


@dataclass(frozen=True)
class BatchSizing:
    """TensorFlow Serving's batching parameters, under its own names.

    Attributes:
        max_batch_size: texts of one request at most; a larger one is refused.
        max_execution_batch_size: texts that are computed together at most; larger requests are
            split (`enable_large_batch_splitting`).
        batch_timeout_micros: how long a batch that is not full waits for more texts.
        max_enqueued_batches: batches that wait at most; past that, requests are refused.
        num_batch_threads: batches that are computed at once.
        measurements: what the rest was decided from, by ascending size.
        splitting: whether larger requests are split at all; where not, both sizes are one.
    """

    max_batch_size: int
    max_execution_batch_size: int
    batch_timeout_micros: int
    max_enqueued_batches: int
    num_batch_threads: int
    measurements: tuple[Measurement, ...]
    splitting: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as `metrics.json` keeps them."""
        rows = [asdict(row) | {"texts_per_second": row.texts_per_second}
                for row in self.measurements]
        return {**asdict(self), "measurements": rows}

    def table(self) -> list[str]:
        """Return the measurements as lines of text, the heading first."""
        rows = [
            f"{row.batch_size:>10}  {1000 * row.seconds:>12.2f}  {row.texts_per_second:>10,.0f}"
            for row in self.measurements
        ]
        return ["batch size  milliseconds     texts/s", *rows]


def measure(
    predict: Callable[[Sequence[Text]], object],
    texts: Sequence[Text],
    *,
    seconds: float = _SECONDS,
    cores: int | None = None,
    splitting: bool = True,
) -> BatchSizing:
    """Time batches of 1, 2, 4, ... 256 texts in this process, and decide from that.

    Sizes of which a batch takes longer than 0.05 s are not gone past, so that a slow model takes
    no longer to measure than a fast one.

    Args:
        predict: answers a batch of texts, as a `Predictor` does.
        texts: real ones, or pairs, of which every batch takes others.
        seconds: for all measurements together, about; one batch may take longer.
        cores: of the server; those that this process may use when not given.
        splitting: see `decide`.

    Raises:
        ArtifactError: there are no texts.
    """
    if not texts:
        raise ArtifactError("Batches are sized on real texts, one at least. Received: none")
    measurements: list[Measurement] = []
    with progress("Measuring batches", "texts") as advance:
        for size in SIZES:
            batches = _batches(texts, size)
            predict(batches[0])  # memory for this size is allocated on the first call
            advance(size)
            took = _time(predict, batches, seconds / len(SIZES))
            advance(size * len(took))
            measurements.append(Measurement(size, statistics.median(took)))
            if measurements[-1].seconds > BATCH_SECONDS:
                break
    return decide(measurements, cores or _cores(), splitting=splitting)


def decide(
    measurements: Sequence[Measurement], cores: int, *, splitting: bool = True
) -> BatchSizing:
    """Choose the parameters.

    `max_execution_batch_size` is the smallest size that comes within a tenth of the best throughput
    among those that take 0.05 s at most. `batch_timeout_micros` is as long as one text takes, and
    2 ms at most, which is what batching costs a client without company; under load batches fill
    because texts wait for a thread, not because of this. `num_batch_threads` is the number of
    cores, as TensorFlow Serving's guide says for a CPU. `max_enqueued_batches` is as many as are
    computed in 2 s, as if threads only shared what one call gets out of the machine, so that a
    queue that long is the worst that an accepted request finds ahead. `max_batch_size` is what
    such a queue holds, 1,024 at most.

    Args:
        measurements: of one size at least.
        cores: of the machine.
        splitting: whether the server may compute a request in parts. Where it may not, a request
            is a batch, and `max_batch_size` is no less than the largest warm-up request has.
    """
    quick = [row for row in measurements if row.seconds <= BATCH_SECONDS] or measurements[:1]
    best = max(row.texts_per_second for row in quick)
    chosen = next(row for row in quick if row.texts_per_second * GAIN >= best)
    alone = math.ceil(1e4 * measurements[0].seconds) * 100  # to 100 microseconds
    size, seconds = chosen.batch_size, chosen.seconds
    if not splitting and size < max(warmup.SIZES):
        size = max(warmup.SIZES)
        measured = {row.batch_size: row.seconds for row in measurements}
        seconds = measured.get(size, size / measurements[-1].texts_per_second)
    queue = max(cores, int(QUEUE_SECONDS / seconds))
    largest = min(LARGEST_REQUEST, queue * size) if splitting else size
    return BatchSizing(
        max_batch_size=largest,
        max_execution_batch_size=size,
        batch_timeout_micros=min(TIMEOUT_MICROS, alone),
        max_enqueued_batches=queue,
        num_batch_threads=cores,
        measurements=tuple(measurements),
        splitting=splitting,
    )


def _batches(texts: Sequence[Text], size: int) -> list[list[Text]]:
    """Return batches that go through the texts in turn, from the beginning again at the end."""
    count = min(_MOST_CALLS, max(_FEWEST_CALLS, math.ceil(len(texts) / size)))
    return [
        [texts[index % len(texts)] for index in range(start * size, (start + 1) * size)]
        for start in range(count)
    ]


def _time(
    predict: Callable[[Sequence[Text]], object], batches: Sequence[list[Text]], seconds: float
) -> list[float]:
    """Return the seconds that each call took."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    for call in range(_MOST_CALLS):
        start = time.perf_counter()
        if start > end and len(took) >= _FEWEST_CALLS:
            break
        predict(batches[call % len(batches)])
        took.append(time.perf_counter() - start)
    return took


def _cores() -> int:
    # a container or taskset may leave fewer than the machine has; macOS does not tell
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
