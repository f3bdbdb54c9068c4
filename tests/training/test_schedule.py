"""The learning rate at steps where it can be worked out by hand."""

from __future__ import annotations

import keras
import pytest

from tfhub_transfer.training.schedule import WarmupDecay


def rates(decay: str, *steps: int, warmup: float = 0.2) -> list[float]:
    schedule = WarmupDecay(2.0, 100, warmup, decay)
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_rise_is_a_line_whose_first_step_learns(decay):
    assert rates(decay, 0, 4, 9, 19, 20) == pytest.approx([0.1, 0.5, 1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("none", [2.0, 2.0, 2.0, 2.0]),
        ("linear", [1.5, 1.0, 0.5, 0.0]),
        ("cosine", [1.0 + 0.5**0.5, 1.0, 1.0 - 0.5**0.5, 0.0]),
    ],
)
def test_the_fall(decay, expected):
    assert rates(decay, 40, 60, 80, 100) == pytest.approx(expected, abs=1e-6)


def test_the_slanted_triangle_is_ulmfit_s():
    # equation 3 of arXiv 1801.06146 with T = 100, cut_frac = 0.2, ratio = 32
    def rate(step: int) -> float:
        p = step / 20 if step < 20 else 1 - (step - 20) / (20 * (1 / 0.2 - 1))
        return 2.0 * (1 + p * 31) / 32

    # our rise is a step ahead, so that the first one learns as with the other schedules
    assert rates("slanted", 0, 9, 19) == pytest.approx([rate(1), rate(10), rate(20)])
    assert rates("slanted", 20, 60, 99, 100) == pytest.approx([rate(s) for s in (20, 60, 99, 100)])
    assert rates("slanted", 100, 130) == pytest.approx([2.0 / 32] * 2)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_past_the_end_it_stays_at_zero(decay):
    assert rates(decay, 130) == pytest.approx([0.0], abs=1e-6)


def test_without_a_warm_up_it_begins_at_the_peak():
    assert rates("linear", 0, 1, warmup=0.0) == pytest.approx([2.0, 2.0])
    assert rates("none", 0, warmup=0.0) == [2.0]


def test_all_of_it_may_be_warm_up():
    assert rates("cosine", 49, 99, warmup=1.0) == pytest.approx([1.0, 2.0])


def test_a_single_step_is_taken_at_the_peak():
    assert float(WarmupDecay(2.0, 1, 0.05, "cosine")(0)) == pytest.approx(2.0)


def test_it_comes_back_from_its_config():
    schedule = WarmupDecay(2.0, 100, 0.1, "cosine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is WarmupDecay
    assert again.get_config() == {"peak": 2.0, "steps": 100, "warmup": 0.1, "decay": "cosine"}
    assert float(again(55)) == float(schedule(55))
