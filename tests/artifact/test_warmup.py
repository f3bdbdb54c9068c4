from __future__ import annotations

import random

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfhub_transfer.artifact.warmup import MOST_RECORDS, write_warm_up
from tfhub_transfer.errors import ArtifactError

TEXTS = [" ".join(["word"] * count) + "." for count in range(1, 101)]


def logs(version):
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]


def test_requests_are_what_tensorflow_serving_replays(tmp_path):
    assert write_warm_up(tmp_path, TEXTS, name="mood", sizes=(1, 8)) == 8
    kinds = [log.WhichOneof("log_type") for log in logs(tmp_path)]
    assert kinds == ["predict_log", "predict_log", "predict_log", "classify_log"] * 2
    for log, size in zip(logs(tmp_path), [1] * 4 + [8] * 4, strict=True):
        if log.HasField("predict_log"):
            request = log.predict_log.request
            assert request.model_spec.signature_name == "serving_default"
            tensor = tf.make_ndarray(request.inputs["text"])
            assert tensor.shape == (size,)
            assert {text.decode() for text in tensor} <= set(TEXTS)
        else:
            request = log.classify_log.request
            assert request.model_spec.signature_name == "classify"
            examples = request.input.example_list.examples
            found = [example.features.feature["text"].bytes_list.value for example in examples]
            assert len(found) == size
            assert all(len(value) == 1 and value[0].decode() in TEXTS for value in found)
        assert request.model_spec.name == "mood"
        assert not request.model_spec.HasField("version")


def test_the_second_signature_may_be_one_of_predict(tmp_path):
    assert write_warm_up(tmp_path, TEXTS, name="slots", second="words", sizes=(1,)) == 4
    names = [log.predict_log.request.model_spec.signature_name for log in logs(tmp_path)]
    assert names == ["serving_default"] * 3 + ["words"]


def test_texts_are_short_median_and_long(tmp_path):
    write_warm_up(tmp_path, TEXTS, name="mood", sizes=(1,))
    lengths = [
        len(log.predict_log.request.inputs["text"].string_val[0].split())
        for log in logs(tmp_path)[:3]
    ]
    assert lengths == [6, 51, 95]


def test_the_same_texts_give_the_same_file(tmp_path):
    write_warm_up(tmp_path / "one", TEXTS, name="mood")
    write_warm_up(tmp_path / "two", random.Random(1).sample(TEXTS, len(TEXTS)), name="mood")
    one, two = ((tmp_path / name / "assets.extra").iterdir() for name in ("one", "two"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_few_and_strange_texts_are_enough(tmp_path):
    write_warm_up(tmp_path, ["", "half a pair \ud83d", ""], name="mood", sizes=(5,))
    values = logs(tmp_path)[0].predict_log.request.inputs["text"].string_val
    assert list(values) == [b"", b"half a pair ?"] * 2 + [b""]


def test_what_tensorflow_serving_would_refuse_is_not_written(tmp_path):
    with pytest.raises(ArtifactError, match=r"takes 1,000 .* at most. Received: 1,004"):
        write_warm_up(tmp_path, TEXTS, name="mood", sizes=[1] * (MOST_RECORDS // 4 + 1))
    with pytest.raises(ArtifactError, match=r"one at least. Received: none"):
        write_warm_up(tmp_path, [], name="mood")
    assert not list(tmp_path.iterdir())


def test_questions_go_with_their_contexts(tmp_path):
    pairs = [(f"who {count}", text) for count, text in enumerate(TEXTS)]
    assert write_warm_up(tmp_path, pairs, name="facts", second="n_best", sizes=(1, 4)) == 8
    for log, size in zip(logs(tmp_path), [1] * 4 + [4] * 4, strict=True):
        inputs = log.predict_log.request.inputs
        columns = [tf.make_ndarray(inputs[name]).tolist() for name in ("question", "context")]
        asked = [tuple(part.decode() for part in pair) for pair in zip(*columns, strict=True)]
        assert len(asked) == size and set(asked) <= set(pairs)
    alone = [log.predict_log.request.inputs["context"].string_val for log in logs(tmp_path)[:3]]
    lengths = [len(text) for (text,) in alone]
    assert lengths == sorted(lengths) and lengths[0] < lengths[2]
