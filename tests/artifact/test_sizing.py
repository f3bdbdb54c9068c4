from __future__ import annotations

import json
import time

import pytest

from tfhub_transfer.artifact import warmup
from tfhub_transfer.artifact.sizing import (
    BATCH_SECONDS,
    QUEUE_SECONDS,
    SIZES,
    TIMEOUT_MICROS,
    Measurement,
    decide,
    measure,
)
from tfhub_transfer.errors import ArtifactError


def rows(*milliseconds):
    return [Measurement(size, value / 1000) for size, value in zip(SIZES, milliseconds)]  # noqa: B905


def test_the_batch_is_the_smallest_within_a_tenth_of_the_best_throughput():
    assert decide(rows(2, 2.1, 2.5, 3, 6, 12.5, 25), cores=2).max_execution_batch_size == 8
    assert decide(rows(2, 2.1, 2.5, 3, 5.4, 12.5, 25), cores=2).max_execution_batch_size == 16


def test_one_noisy_size_does_not_end_the_search():
    assert decide(rows(2, 2.1, 4.2, 2.6, 3, 12), cores=2).max_execution_batch_size == 16


def test_a_batch_stays_below_the_latency_that_a_client_is_promised():
    sizing = decide(rows(5, 9, 15, 25, 45, 80), cores=2)
    assert sizing.max_execution_batch_size == 16
    assert decide(rows(200, 300), cores=2).max_execution_batch_size == 1


def test_a_lone_client_waits_as_long_as_a_text_takes_but_never_long():
    assert decide(rows(0.42), cores=2).batch_timeout_micros == 500
    assert decide(rows(30), cores=2).batch_timeout_micros == TIMEOUT_MICROS


def test_where_requests_are_not_split_a_request_is_a_batch_and_warm_up_fits():
    quick = decide(rows(0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.9), cores=2, splitting=False)
    assert quick.max_batch_size == quick.max_execution_batch_size == 64
    slow = decide(rows(60, 110), cores=2, splitting=False)
    assert slow.max_batch_size == slow.max_execution_batch_size == max(warmup.SIZES)
    # 880 ms of a batch that size, as far as can be told from two
    assert slow.max_enqueued_batches == 2
    measured = decide(rows(10, 19, 37, 75, 160, 300), cores=1, splitting=False)
    assert measured.max_enqueued_batches == int(QUEUE_SECONDS / 0.16)


@pytest.mark.parametrize("milliseconds", [0.1, 3, 20, 49])
def test_the_queue_is_worked_off_in_bounded_time(milliseconds):
    sizing = decide(rows(milliseconds), cores=2)
    assert sizing.max_enqueued_batches * milliseconds / 1000 <= QUEUE_SECONDS
    assert (sizing.max_enqueued_batches + 1) * milliseconds / 1000 > QUEUE_SECONDS * 0.99


def test_every_thread_may_have_a_batch_waiting_and_any_accepted_request_fits_the_queue():
    slow = decide(rows(3000), cores=8)
    assert slow.num_batch_threads == slow.max_enqueued_batches == slow.max_batch_size == 8
    quick = decide(rows(1, 1.1, 1.2), cores=2)
    assert quick.max_batch_size == 1024
    assert quick.max_enqueued_batches * quick.max_execution_batch_size >= 1024


def test_a_model_is_measured_on_all_texts_in_bounded_time():
    seen, texts = set(), [f"text {index}" for index in range(40)]

    def predict(batch):
        assert len(batch) in SIZES
        seen.update(batch)
        time.sleep(0.001 + 0.0001 * len(batch))

    start = time.monotonic()
    sizing = measure(predict, texts, seconds=0.5, cores=3)
    assert time.monotonic() - start < 2
    assert seen == set(texts)
    assert [row.batch_size for row in sizing.measurements] == list(SIZES)
    assert sizing.measurements[0].seconds < BATCH_SECONDS
    assert sizing.num_batch_threads == 3
    assert sizing.max_execution_batch_size >= 16


def test_a_slow_model_is_not_measured_past_the_latency_that_matters():
    sizing = measure(lambda batch: time.sleep(0.03 * len(batch)), ["a"], seconds=0.1)
    assert [row.batch_size for row in sizing.measurements] == [1, 2]
    assert sizing.num_batch_threads >= 1


def test_the_measurements_are_kept_as_a_table_and_as_plain_values():
    sizing = decide(rows(2, 2.5), cores=2)
    assert [line.split() for line in sizing.table()[1:]] == [
        ["1", "2.00", "500"],
        ["2", "2.50", "800"],
    ]
    kept = json.loads(json.dumps(sizing.to_dict()))
    assert kept["measurements"][1] == {
        "batch_size": 2,
        "seconds": 0.0025,
        "texts_per_second": 800.0,
    }


def test_sizing_needs_texts():
    with pytest.raises(ArtifactError, match=r"real texts, one at least. Received: none"):
        measure(len, [])
