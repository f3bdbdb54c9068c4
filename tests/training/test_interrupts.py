"""Ctrl-C waits for the end of a step, but not for a second one."""

from __future__ import annotations

import signal
import threading

import pytest

from tfhub_transfer.training.interrupts import held_interrupts


@pytest.fixture(autouse=True)
def python_handles_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_it_waits_for_the_check():
    reached = []
    with pytest.raises(KeyboardInterrupt), held_interrupts() as check:
        check()
        signal.raise_signal(signal.SIGINT)
        reached.append("the step's end")
        check()
        reached.append("the next step")
    assert reached == ["the step's end"]


def test_it_is_not_lost_where_no_check_follows():
    reached = []
    with pytest.raises(KeyboardInterrupt), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached == ["the end"]


def test_it_does_not_hide_an_error():
    with pytest.raises(ValueError, match="of the step"), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("of the step")


def test_a_second_one_does_not_wait():
    with pytest.raises(KeyboardInterrupt), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("a step that hangs could not be left")


def test_a_handler_of_another_stays():
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(True))
    with held_interrupts() as check:
        signal.raise_signal(signal.SIGINT)
        check()
    assert came == [True]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_thread_has_no_signals_to_hold():
    done = []

    def work() -> None:
        with held_interrupts() as check:
            check()
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
