"""Arrays and progress in one file, and what is said of files that are no such thing."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors import SafetensorError

from tfhub_transfer.errors import RunError
from tfhub_transfer.pretraining import checkpoint

VALUES = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(2.5, np.float32)}


def test_it_returns_what_was_saved(tmp_path):
    file = tmp_path / "last.safetensors"
    checkpoint.save(file, {}, {})
    checkpoint.save(file, VALUES, {"step": 3, "history": [{"loss": 0.1}]})
    values, progress = checkpoint.load(file, {"b": (), "a": (2, 3)})
    assert progress == {"step": 3, "history": [{"loss": 0.1}]}
    assert values.keys() == VALUES.keys()
    for name, value in VALUES.items():
        np.testing.assert_array_equal(values[name], value)
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk(tmp_path, monkeypatch):
    file = tmp_path / "last.safetensors"
    checkpoint.save(file, VALUES, {"step": 3})

    def full(*arguments, **more):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"cannot be written .*No space left.* Make room.* --resume"):
        checkpoint.save(file, VALUES, {"step": 4})
    assert checkpoint.load(file, {"b": (), "a": (2, 3)})[1] == {"step": 3}


@pytest.mark.parametrize("content", [b"", b"no tensors", None], ids=["empty", "text", "none"])
def test_a_file_that_is_none(tmp_path, content):
    file = tmp_path / "last.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunError, match=r"cannot be read .* Delete it .* Received: .*last.safet"):
        checkpoint.load(file, {})


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({"a": (2, 3)}, r"Expected b of shape None\. Received: \(\) in"),
        ({"a": (3, 2), "b": ()}, r"Expected a of shape \(3, 2\)\. Received: \(2, 3\) in"),
        ({"a": (2, 3), "b": (), "c": (1,)}, r"Expected c of shape \(1,\)\. Received: None in"),
    ],
    ids=["fewer", "others", "more"],
)
def test_a_file_of_another_model(tmp_path, shapes, text):
    file = tmp_path / "last.safetensors"
    checkpoint.save(file, VALUES, {})
    with pytest.raises(RunError, match=rf"of another model\. Delete it to begin anew\. {text}"):
        checkpoint.load(file, shapes)
