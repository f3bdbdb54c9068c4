"""A step against the same in NumPy, and its state on disk."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from tfhub_transfer.errors import RunError
from tfhub_transfer.pretraining.swivel.cooccurrence import Layout
from tfhub_transfer.pretraining.swivel.objective import Confidence
from tfhub_transfer.pretraining.swivel.training import SwivelTraining

SIDE, WIDTH, RATE = 6, 3, 0.1
LAYOUT = Layout.of(2 * SIDE, SIDE)


def symmetric_counts() -> np.ndarray:
    """float64[2, S, 2, S], about half of it zeros."""
    random = np.random.default_rng(0)
    shape = (2 * SIDE, 2 * SIDE)
    counts = np.triu(random.exponential(2.0, shape) * (random.random(shape) < 0.5))
    return (counts + counts.T).reshape(2, SIDE, 2, SIDE)


def training(seed: int = 0) -> SwivelTraining:
    marginals = symmetric_counts().sum(axis=(2, 3))
    return SwivelTraining(
        LAYOUT, marginals, WIDTH, Confidence(), learning_rate=RATE, train_biases=True, seed=seed
    )


def taken(made: SwivelTraining, shard: tuple[int, int]) -> float:
    counts = symmetric_counts()[shard[0], :, shard[1]].ravel()
    cells = np.flatnonzero(counts).astype(np.int32)
    return made.step(shard, cells, counts[cells].astype(np.float32))


def state(made: SwivelTraining, folder) -> dict[str, np.ndarray]:
    made.save(folder / "state.safetensors", {})
    return load_file(folder / "state.safetensors")


def by_adagrad(value: np.ndarray, sums: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return value - RATE * slope / np.sqrt(sums + slope**2)


@pytest.mark.parametrize("shard", [(0, 1), (1, 1)])
def test_a_step_moves_both_submatrices_of_a_shard_as_the_paper_says(tmp_path, shard):
    made = training()
    before = {k: v.astype(np.float64) for k, v in state(made, tmp_path).items()}
    taken(made, shard)
    after = state(made, tmp_path)
    expected = {name: value.copy() for name, value in before.items()}
    for row, column in {shard, shard[::-1]}:
        counts = symmetric_counts()[row, :, column]
        rows, columns = before["rows/vectors"][row], before["columns/vectors"][column]
        biases = before["rows/biases"][row][:, None] + before["columns/biases"][column]
        predicted = rows @ columns.T + biases
        error = predicted - np.log(np.where(counts > 0, counts, 1.0))
        confidence = 0.1 + 0.25 * np.sqrt(counts)
        slope = np.where(counts > 0, confidence * error, 1 / (1 + np.exp(-predicted)))
        slopes = {
            ("rows", row): (slope @ columns, slope.sum(axis=1)),
            ("columns", column): (slope.T @ rows, slope.sum(axis=0)),
        }
        for (role, block), (by_vectors, by_biases) in slopes.items():
            for name, sums, by in (
                ("vectors", "vector_sums", by_vectors),
                ("biases", "bias_sums", by_biases),
            ):
                value, sum_ = before[f"{role}/{name}"][block], before[f"{role}/{sums}"][block]
                expected[f"{role}/{name}"][block] = by_adagrad(value, sum_, by)
                expected[f"{role}/{sums}"][block] = sum_ + by**2
    for name, value in expected.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_it_goes_on_from_what_was_saved(tmp_path):
    one, other = training(), training(seed=1)
    taken(one, (0, 1))
    one.save(tmp_path / "saved", {"step": 1})
    assert other.load(tmp_path / "saved") == {"step": 1}
    for made in (one, other):
        taken(made, (0, 0))
    np.testing.assert_array_equal(one.vectors(), other.vectors())
    assert one.vectors().shape == (2 * SIDE, WIDTH)


def test_a_checkpoint_of_another_training(tmp_path):
    file = tmp_path / "saved"
    small = SwivelTraining(
        Layout.of(3, 3),
        np.ones((1, 3)),
        2,
        Confidence(),
        learning_rate=1.0,
        train_biases=False,
        seed=0,
    )
    small.save(file, {})
    with pytest.raises(RunError, match=r"of another model\. .* Received: \(1, 3.* in .*saved"):
        training().load(file)
