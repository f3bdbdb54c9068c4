from __future__ import annotations

import json

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tfhub_transfer.serving import json_answers

OUTPUTS = {
    "label": np.array([b"good", "m\u00e4\u00dfig".encode()], object),
    "score": np.array([0.2, 1.0], np.float32),
    "probabilities": np.array([[0.2, 0.8], [1.0, 0.0]], np.float32),
}


def test_rows_of_several_outputs_are_objects() -> None:
    assert json_answers.predictions(OUTPUTS, rows=True).decode() == (
        '{"predictions":[{"label":"good","probabilities":[0.2,0.8],"score":0.2},'
        '{"label":"m\u00e4\u00dfig","probabilities":[1.0,0.0],"score":1.0}]}'
    )


def test_columns_of_several_outputs_are_an_object() -> None:
    assert json_answers.predictions(OUTPUTS, rows=False).decode() == (
        '{"outputs":{"label":["good","m\u00e4\u00dfig"],"probabilities":[[0.2,0.8],[1.0,0.0]],'
        '"score":[0.2,1.0]}}'
    )


def test_a_single_output_has_no_name() -> None:
    score = {"score": OUTPUTS["score"]}
    assert json_answers.predictions(score, rows=True) == b'{"predictions":[0.2,1.0]}'
    assert json_answers.predictions(score, rows=False) == b'{"outputs":[0.2,1.0]}'


def test_bytes_by_their_name() -> None:
    outputs = {"raw_bytes": np.array([[b"\xff", b""]], object)}
    expected = {"predictions": [[{"b64": "/w=="}, {"b64": ""}]]}
    assert json.loads(json_answers.predictions(outputs, rows=True)) == expected


def test_invalid_utf8_and_strides_are_written() -> None:
    outputs = {
        "label": np.array([b"\xff"], object),
        "probabilities": np.array([[0.5], [0.25]], np.float32).T,
    }
    assert json.loads(json_answers.predictions(outputs, rows=True)) == {
        "predictions": [{"label": "\ufffd", "probabilities": [0.5, 0.25]}]
    }


def test_results() -> None:
    classes = [[b"good", b"", b'a "b", c'], [b"\xff", b"good", b"m\xc3\xa4\xc3\x9fig"]]
    scores = np.array([[0.2, 1, 1e-9], [0.1, np.nan, 0.5]], np.float32)
    outputs = {"classes": np.array(classes, object), "scores": scores}
    assert json_answers.results(outputs).decode() == (
        '{"results":[[["good",0.2],["",1.0],["a \\"b\\", c",1e-9]],'
        '[["\ufffd",0.1],["good",null],["m\u00e4\u00dfig",0.5]]]}'
    )
    none = {"classes": np.empty((1, 0), object), "scores": np.empty((1, 0), np.float32)}
    assert json_answers.results(none) == b'{"results":[[]]}'


def test_status_as_published() -> None:
    response = get_model_status_pb2.GetModelStatusResponse()
    state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    response.model_version_status.add(version=123, state=state, status={})
    assert json.loads(json_answers.status(response)) == {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def test_metadata_is_unpacked() -> None:
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = "reviews"
    response.model_spec.version.value = 3
    signatures = get_model_metadata_pb2.SignatureDefMap()
    definition = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    definition.inputs["text"].name = "text:0"
    definition.inputs["text"].dtype = 7
    signatures.signature_def["serving_default"].CopyFrom(definition)
    response.metadata["signature_def"].Pack(signatures)
    answer = json.loads(json_answers.metadata(response))
    assert answer["model_spec"] == {"name": "reviews", "signature_name": "", "version": "3"}
    read = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert read["method_name"] == "tensorflow/serving/predict"
    assert read["inputs"]["text"]["dtype"] == "DT_STRING"


def test_error() -> None:
    assert json.loads(json_answers.error('a "b" \0 \u20ac')) == {"error": 'a "b" \0 \u20ac'}
