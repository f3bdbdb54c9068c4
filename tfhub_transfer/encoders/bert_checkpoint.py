"""What a BERT checkpoint in Hugging Face layout says: its shape, its vocabulary, its weights.

Pooling, normalisation and the longest input come from the checkpoint's own files, as
sentence-transformers lays them out; a plain BERT checkpoint is pooled by its tanh pooler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tfhub_transfer.encoders import store
from tfhub_transfer.errors import CorruptEncoderError, EncoderError

__all__ = ["BertConfig", "Weights", "read_vocabulary", "read_weights"]

Pooling = Literal["mean", "cls", "pooler"]

_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}
# The parts of a sentence-transformers pipeline that the graph has; any other would go missing.
_MODULES = ("Transformer", "Pooling", "Normalize")
# BertConfig's fields that config.json has under another name.
_FIELDS = {
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
}


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT encoder and what is done with its output."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    intermediate: int
    positions: int
    epsilon: float
    dropout: float
    activation: Literal["gelu", "gelu_new", "relu"]
    max_tokens: int
    lower_case: bool
    pooling: Pooling
    normalize: bool

    @classmethod
    def read(cls, checkpoint: Path) -> BertConfig:
        """Read the configuration files of `checkpoint`, a directory in Hugging Face layout.

        Raises:
            EncoderError: the checkpoint is of another architecture or pools in another way.
        """
        raw = _read_json(checkpoint / "config.json")
        needed = {*_FIELDS.values(), "hidden_act", "max_position_embeddings"}
        if missing := sorted(needed - {*raw}):
            raise EncoderError(
                f"{checkpoint / 'config.json'} lacks what a BERT's has: {', '.join(missing)}. "
                f"Received: {', '.join(sorted(raw)) or 'no key'}"
            )
        _accept("model_type", raw.get("model_type"), ("bert",))
        _accept(
            "position_embedding_type",
            raw.get("position_embedding_type", "absolute"),
            ("absolute",),
        )
        _accept("hidden_act", raw["hidden_act"], ("gelu", "gelu_new", "relu"))
        if raw["hidden_size"] % raw["num_attention_heads"]:
            raise EncoderError(
                f"config.json: hidden_size must be a multiple of num_attention_heads. "
                f"Received: {raw['hidden_size']} and {raw['num_attention_heads']}"
            )
        modules = [module["type"] for module in _read_json(checkpoint / "modules.json", [])]
        for module in modules:
            _accept("modules.json: type", module.rpartition(".")[2], _MODULES)
        tokenizer = _read_json(checkpoint / "tokenizer_config.json", {})
        sentence = _read_json(checkpoint / "sentence_bert_config.json", {})
        positions = raw["max_position_embeddings"]
        return cls(
            **{name: raw[key] for name, key in _FIELDS.items()},
            positions=positions,
            activation=raw["hidden_act"],
            max_tokens=min(sentence.get("max_seq_length") or positions, positions),
            lower_case=tokenizer.get("do_lower_case", True),
            pooling=_read_pooling(checkpoint / "1_Pooling" / "config.json"),
            normalize=any(module.endswith(".Normalize") for module in modules),
        )


def read_vocabulary(file: Path, size: int) -> list[str]:
    """Return the `size` word pieces of a BERT `vocab.txt`, in the order of their ids."""
    lines = _existing(file).read_text(encoding="utf-8").split("\n")
    pieces = lines[:-1] if lines[-1] == "" else lines
    missing = [piece for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if piece not in pieces]
    if len(pieces) != size or missing:
        raise CorruptEncoderError(
            f"{file} should have {size} word pieces, [PAD], [UNK], [CLS] and [SEP] among them. "
            f"Received: {len(pieces)}, without {', '.join(missing) or 'a gap'}"
        )
    return pieces


class Weights:
    """A checkpoint's tensors by name, whether or not the checkpoint prefixes them with `bert.`."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self._weights = {name.removeprefix("bert."): value for name, value in weights.items()}

    def __call__(self, name: str) -> np.ndarray:
        """Return a tensor as float32."""
        if name not in self._weights:
            raise CorruptEncoderError(
                f"The checkpoint lacks the tensor {name!r}. It has {len(self._weights)}, "
                f"among them: {', '.join(sorted(self._weights)[:5])}"
            )
        return self._weights[name].astype(np.float32)


def read_weights(checkpoint: Path, *, sha256: str | None = None) -> Weights:
    """Read `model.safetensors`.

    Args:
        checkpoint: the directory.
        sha256: what the file's checksum must be; any when not given.

    Raises:
        EncoderError: there is no such file.
        CorruptEncoderError: it is truncated or of another checksum.
    """
    file = _existing(checkpoint / "model.safetensors")
    if sha256 and (received := store.sha256(file)) != sha256:
        raise CorruptEncoderError(
            f"{file} is not the file that was asked for: its sha256 should be {sha256}. "
            f"Received: {received}"
        )
    try:
        return Weights(load_file(file))
    except SafetensorError as error:
        raise CorruptEncoderError(f"{file} is no readable safetensors file: {error}") from error


def _read_pooling(file: Path) -> Pooling:
    """Return what sentence-transformers' pooling file says; without one, BERT's own pooler."""
    if not file.exists():
        return "pooler"
    modes = {
        key
        for key, on in _read_json(file).items()
        if key.startswith("pooling_mode_") and on is True
    }
    if len(modes) != 1 or not modes <= _POOLINGS.keys():
        raise EncoderError(
            f"{file} asks for a pooling that is not built here. Accepted: one of "
            f"{', '.join(_POOLINGS)}. Received: {', '.join(sorted(modes)) or 'none'}"
        )
    return _POOLINGS[modes.pop()]


def _accept(key: str, value: Any, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise EncoderError(
            f"The checkpoint's {key} must be one of {', '.join(accepted)}. Received: {value!r}"
        )


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise EncoderError(
            f"A BERT checkpoint in Hugging Face layout has config.json, vocab.txt and "
            f"model.safetensors. Missing: {file}"
        )
    return file


def _read_json(file: Path, missing: Any = None) -> Any:
    """Return a file's content, or `missing` in place of a file that a checkpoint may lack."""
    if missing is not None and not file.exists():
        return missing
    try:
        return json.loads(_existing(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptEncoderError(f"Not JSON ({error}). Received: {file}") from error
