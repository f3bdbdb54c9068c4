"""Counting tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.encoders import tiny
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.lengths import token_counts
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.errors import EncoderError

TEXTS = ["the good film !", "", "bad", "a " * 60, "the film"]


# each with the tokens that its preprocessor keeps at most
@pytest.fixture(scope="module", params=["write_bert", "write_transformer"])
def layer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HubLayer:
    built = getattr(tiny, request.param)(tmp_path_factory.mktemp("encoder"))
    return HubLayer(resolve(str(built)), trainable=True)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_special_tokens_count_and_what_is_cut_off_does_not(layer: HubLayer, size: int) -> None:
    most = int(layer.preprocess(np.array(["a " * 60]))["input_mask"].numpy().sum())
    assert most in (tiny.POSITIONS, tiny.LENGTH)
    batches = [TEXTS[start : start + size] for start in range(0, len(TEXTS), size)]
    assert token_counts(layer, batches).tolist() == [6, 2, 3, most, 4]


def test_no_texts(layer: HubLayer) -> None:
    assert token_counts(layer, []).shape == (0,)


def test_padding_that_all_rows_share_is_cut_in_training(layer: HubLayer) -> None:
    layer.output_kind = "sequence"
    try:
        assert layer.vectors(np.array(TEXTS[:3]), training=True).shape[:2] == (3, 6)
    finally:
        layer.output_kind = "pooled"


def test_a_text_embedding_has_no_tokens(tmp_path: Path) -> None:
    layer = HubLayer(resolve(str(tiny.write_text_embedding(tmp_path / "words"))))
    with pytest.raises(EncoderError, match="takes text as it is"):
        token_counts(layer, [["a"]])
