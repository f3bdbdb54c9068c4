"""Slow work shows how far it is, where somebody can see it."""

from __future__ import annotations

import re
import time

import pytest

from tfhub_transfer import progress as module
from tfhub_transfer.progress import progress


def shown(capsys, *, total=None, count=3):
    with progress("Counting", "sheep", total) as advance:
        for _ in range(count):
            advance(1000)
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_fast_work_says_nothing(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert shown(capsys) == ""


@pytest.mark.parametrize("total", [None, 3000])
def test_a_log_gets_one_line(capsys, monkeypatch, total):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    text = shown(capsys, total=total)
    assert text.startswith("Counting: 3,000 sheep in ")
    assert "sheep/s)" in text
    assert text.count("\n") == 1


def test_a_log_hears_of_long_work_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(module, "LOG_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    lines = shown(capsys, total=9000).splitlines()
    assert [line.partition(" so far")[0] for line in lines] == [
        f"Counting: {done} of 9,000 sheep" for done in ("1,000", "2,000", "3,000")
    ]


@pytest.mark.parametrize(("total", "expected"), [(None, "3,000 sheep"), (6000, "3,000 of 6,000")])
def test_a_terminal_sees_it_move(capsys, monkeypatch, total, expected):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(capsys, total=total)
    assert expected in text
    assert "Counting: 3,000 sheep in" in text


def test_a_narrow_terminal_keeps_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    what = "Training, epoch 1 of 10, loss 5.593, val_loss 5.246, and more"
    with progress(what, "steps", 48_000) as advance:
        for _ in range(6):
            time.sleep(0.1)
            advance(1000)
    text = capsys.readouterr().err
    assert re.search(r"\d:\d\d:\d\d.* \d,000 of 48,000 steps", text)
    assert "5.246" in text


def test_work_that_fails_still_says_how_far_it_came(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)

    def fail():
        with progress("Counting", "sheep") as advance:
            advance(7)
            raise ValueError("wolf")

    with pytest.raises(ValueError, match="wolf"):
        fail()
    assert "Counting: 7 sheep" in capsys.readouterr().err


def test_brackets_in_a_name_are_no_markup(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    with progress("Reading [red]x[/red]", "rows"):
        pass
    assert "Reading [red]x[/red]" in capsys.readouterr().err


def test_what_goes_on_may_change(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    with progress("Counting", "sheep") as advance:
        advance(1)
        advance(1, now="Counting, second fold")
        advance(1)
    assert "Counting, second fold: 3 sheep" in " ".join(capsys.readouterr().err.split())


def test_work_within_work_is_told_of_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    with progress("Trials", "trials", 2) as outer:
        with progress("Training", "examples", 30) as inner:
            inner(20)
        outer(2)
    text = capsys.readouterr().err
    assert text.startswith("Trials: 2 trials in ")
    assert text.count("\n") == 1


def test_a_terminal_sees_the_work_within(capsys, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "140")
    with progress("Trials", "trials", 2) as outer:
        with progress("Training", "examples", 30) as inner:
            inner(20)
            time.sleep(0.3)  # the line is drawn ten times a second
        outer(2)
    assert "Trials: Training, 20 of 30 examples" in capsys.readouterr().err
