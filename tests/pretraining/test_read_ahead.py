"""The thread that reads ahead."""

from __future__ import annotations

import threading

import pytest

from tfhub_transfer.pretraining.read_ahead import read_ahead


def test_reading_ahead_keeps_the_order_and_stays_within_its_count():
    taken = []

    def items():
        for item in range(1, 20):
            assert threading.current_thread() is not threading.main_thread()
            taken.append(item)
            yield item

    for item in read_ahead(items(), 3):
        assert len(taken) <= item + 3
    assert item == 19
    assert list(read_ahead(iter(()), 3)) == []


def test_an_error_of_the_reader_comes_through():
    def items():
        yield 1
        raise ValueError("of the reader")

    found = read_ahead(items(), 2)
    assert next(found) == 1
    with pytest.raises(ValueError, match="of the reader"):
        next(found)
