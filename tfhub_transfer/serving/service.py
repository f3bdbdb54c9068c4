"""What both APIs ask for: requests checked, answered, or refused in TF Serving's words.

The protocol buffers of tensorflow-serving-api are the currency; the files of TF Serving named below
are those whose checks and texts are followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_pb2,
    regression_pb2,
)

from tfhub_transfer.artifact.predictor import CLASSIFY, DEFAULT_SIGNATURE, Instance, Signature
from tfhub_transfer.serving import examples
from tfhub_transfer.serving.instances import size_of
from tfhub_transfer.serving.limits import Limits
from tfhub_transfer.serving.making import made
from tfhub_transfer.serving.model import Version
from tfhub_transfer.serving.status import Code, ServingError
from tfhub_transfer.serving.telemetry import Telemetry
from tfhub_transfer.serving.versions import Models

SIGNATURES = "signature_def"  # the one kind of metadata there is


@dataclass(frozen=True)
class Answer:
    """What the model gave for a request.

    Attributes:
        spec: which model, version and signature answered.
        outputs: by alias, one row for each instance.
    """

    spec: model_pb2.ModelSpec
    outputs: dict[str, np.ndarray]


class Service:
    """The models, as both APIs use them.

    Attributes:
        limits: of every request.
        telemetry: for the APIs to tell of their requests.
        draining: whether the server is about to stop; it answers still.
        closing: whether gRPC clients are sent elsewhere already.
    """

    def __init__(self, models: Models, limits: Limits, telemetry: Telemetry):
        self._models = models
        self.limits = limits
        self.telemetry = telemetry
        self.draining = False
        self.closing = False

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names of the configured models."""
        return self._models.names

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome: every model has an available version."""
        return self._models.ready and not self.draining

    def signature(self, spec: model_pb2.ModelSpec) -> Signature:
        """Return the signature that a request means, as http_rest_api_handler.cc looks it up.

        Raises:
            ServingError: there is no such model, version or signature.
        """
        name = spec.signature_name or DEFAULT_SIGNATURE
        found = _signatures(self._models.resolve(spec)).get(name)
        if found is None:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f'Serving signature name: "{name}" not found in signature def',
            )
        return found

    def predict_signature(self, spec: model_pb2.ModelSpec) -> Signature:
        """Return the same as predict_util.cc looks it up: with another code and text.

        Raises:
            ServingError: there is no such model, version or signature.
        """
        return _for_predict(self._models.resolve(spec), spec)

    async def predict(self, spec: model_pb2.ModelSpec, values: Sequence[Instance]) -> Answer:
        """Run a signature, as predict_util.cc does.

        Args:
            spec: of the request.
            values: texts in UTF-8, or a tuple of one for each input; serialized tf.Examples for a
                signature that takes those.

        Raises:
            ServingError: the request asks for what there is not, or for too much.
        """
        version = self._models.resolve(spec)
        signature = _for_predict(version, spec)
        name = signature.name
        self.limits.check_count(len(values))
        self.limits.check_sizes(
            [size_of(value) for value in values], of_examples=signature.method == CLASSIFY
        )
        outputs = await version.batchers[name].submit(values)
        return Answer(_answered_by(version, name), outputs)

    async def classify(self, request: classification_pb2.ClassificationRequest) -> Answer:
        """Classify tf.Examples, as classifier.cc does, into `classes` and `scores` [B, C].

        Raises:
            ServingError: as `predict`; or the signature is none of Classify.
        """
        version, name = self._for_examples(request, CLASSIFY, "classification")
        values = examples.serialized(request.input, self.limits)
        return Answer(_answered_by(version, name), await version.batchers[name].submit(values))

    async def regress(self, request: regression_pb2.RegressionRequest) -> NoReturn:
        """Refuse: a text classifier has no signature of Regress, as regressor.cc finds out.

        Raises:
            ServingError: always.
        """
        _, name = self._for_examples(request, examples.REGRESS, "regression")
        raise ServingError(
            Code.UNIMPLEMENTED, f"This server does not run regressions. Received: {name}"
        )

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several signatures on one input, as multi_inference.cc does.

        Raises:
            ServingError: as `classify`; or the tasks do not go together.
        """
        first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        version = self._models.resolve(first)
        # kept here, for the version may be let go of before the last task
        signatures, batchers = _signatures(version), version.batchers
        names = examples.check_tasks(request, version.name, signatures)
        values = examples.serialized(request.input, self.limits)
        response = inference_pb2.MultiInferenceResponse()
        for name in names:
            outputs = await batchers[name].submit(values)
            added = response.results.add(model_spec=_answered_by(version, name))
            fill = partial(examples.fill, added.classification_result, outputs)
            await made(fill, outputs["scores"].size)
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return a version's signatures, as get_model_metadata_impl.cc does.

        Raises:
            ServingError: there is no such version, or it was asked for other metadata.
        """
        _check_spec(request)
        if not request.metadata_field:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "GetModelMetadataRequest must specify at least one metadata_field",
                quotes_no_text=True,
            )
        for wanted in request.metadata_field:
            if wanted != SIGNATURES:
                raise ServingError(
                    Code.INVALID_ARGUMENT, f"Metadata field {wanted} is not supported"
                )
        version = self._models.resolve(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in _signatures(version).items():
            definition: meta_graph_pb2.SignatureDef = signatures.signature_def[name]
            definition.CopyFrom(signature.definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = version.name
        response.model_spec.version.value = version.number
        response.metadata[SIGNATURES].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the states of a model's versions, as get_model_status_impl.cc does.

        A version that failed to load carries why from its first failed attempt on.

        Raises:
            ServingError: none was ever found, or no such label.
        """
        _check_spec(request)
        spec = request.model_spec
        versions = self._models.known(spec.name)
        if spec.version_label:
            versions = [self._models.resolve(spec)]
        elif spec.HasField("version"):
            versions = [one for one in versions if one.number == spec.version.value]
        if not versions:
            which = f"version {spec.version.value}" if spec.HasField("version") else "any versions"
            raise ServingError(Code.NOT_FOUND, f"Could not find {which} of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        # The newest first, as TF Serving's monitor keeps them.
        for version in reversed(versions):
            response.model_version_status.add(
                version=version.number,
                state=version.state,
                status={"error_code": version.code.value, "error_message": version.message},
            )
        return response

    def _for_examples(
        self,
        request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest,
        method: str,
        kind: str,
    ) -> tuple[Version, str]:
        _check_spec(request)
        version = self._models.resolve(request.model_spec)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = _signatures(version).get(name)
        if signature is None:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"No signature was found with the name: {name}"
            )
        examples.check_method(signature, method, kind)
        return version, name


def _signatures(version: Version) -> dict[str, Signature]:
    return version.predictor.signatures if version.predictor else {}


def _for_predict(version: Version, spec: model_pb2.ModelSpec) -> Signature:
    name = spec.signature_name or DEFAULT_SIGNATURE
    found = _signatures(version).get(name)
    if found is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return found


def _answered_by(version: Version, signature: str) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=version.name, signature_name=signature)
    spec.version.value = version.number
    return spec


def _check_spec(
    request: classification_pb2.ClassificationRequest
    | regression_pb2.RegressionRequest
    | get_model_metadata_pb2.GetModelMetadataRequest
    | get_model_status_pb2.GetModelStatusRequest,
) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec", quotes_no_text=True)
