"""A training that is ended between two epochs."""

from __future__ import annotations

import time

from tfhub_transfer.training.limits import Limit, limited, reached


def test_without_a_limit_none_is_reached():
    assert not reached(10**6)


def test_epochs_and_time():
    with limited(Limit(epochs=3)):
        assert [reached(epochs) for epochs in (2, 3, 4)] == [False, True, True]
        with limited(Limit(deadline=time.monotonic() + 60)):
            assert not reached(4)
        with limited(Limit(deadline=time.monotonic() - 1)):
            assert reached(1)
        assert reached(3)
    assert not reached(3)
