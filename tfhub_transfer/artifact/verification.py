"""The check that what was written answers as what was trained.

`python -m tfhub_transfer.artifact.verification DIR` reads questions from standard input, a JSON
list of objects with `signature`, `texts` (or pairs of them) and `outputs`, and writes the
artifact's answers as JSON to standard output: the process has nothing in memory of the one that
wrote the artifact, and imports no Keras.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.errors import ArtifactError

TOLERANCE = 1e-5
"""Between two probabilities."""
_SECONDS = 600

# What real validation texts may lack, and what breaks careless text processing.
HARD_TEXTS = (
    "",
    " \t\n ",
    "word " * 20_000,
    "x" * 50_000,
    "这家餐厅的服务非常好,我们还会再来。",
    "الخدمة كانت ممتازة والطعام لذيذ",
    "Сервис был ужасным, больше не приду",
    "यह फिल्म बहुत अच्छी थी",
    "정말 좋은 영화였어요",
    "naïve café, résumé, Straße, İstanbul, ﬁne…",
    "e\u0301 a\u0308 combining, \u202eright to left\u202c, zero\u200bwidth",
    "👍🏽 👩‍👩‍👧 😀" * 3,
    "[CLS] [SEP] [MASK] [PAD] <b>&amp;</b>",
    "nul \x00 and bell \x07",
)


@dataclass(frozen=True)
class Expected:
    """What the trained model says of texts that go through together.

    Attributes:
        signature: of the artifact, that should say the same.
        texts: B of them, or pairs of question and context.
        outputs: numbers or strings, [B, ...], by the name of the signature's output.
        ties: the share of values that may differ by more than `TOLERANCE`, where rounding decides
            which of two things that are as good as each other is the answer.
    """

    signature: str
    texts: Sequence[str | tuple[str, str]]
    outputs: Mapping[str, np.ndarray]
    ties: float = 0.0


def verify(version: Path, expected: Sequence[Expected]) -> float:
    """Load a written version in a fresh process and compare its answers.

    Args:
        version: the directory of the artifact.
        expected: what it should answer.

    Returns:
        The largest difference between two numbers.

    Raises:
        ArtifactError: it cannot be loaded, or an answer differs by more than `TOLERANCE`.
    """
    questions = [
        {"signature": one.signature, "texts": list(one.texts), "outputs": list(one.outputs)}
        for one in expected
    ]
    process = subprocess.run(
        [sys.executable, "-m", __name__, str(version)],
        input=json.dumps(questions).encode(),
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if process.returncode:
        said = process.stderr.decode(errors="replace").strip().splitlines()
        raise ArtifactError(
            f"The artifact that was written does not load in a fresh process. "
            f"Received: {said[-1] if said else f'exit code {process.returncode}'}"
        )
    largest = 0.0
    for one, answers in zip(expected, json.loads(process.stdout), strict=True):
        for name, values in one.outputs.items():
            kind = object if values.dtype == object else None
            found = np.asarray(answers[name], kind)
            difference = _difference(found, values)
            close = difference <= TOLERANCE  # NaN compares false
            if 1 - close.mean() > one.ties:
                by_text = np.nan_to_num(difference, nan=np.inf).reshape(len(values), -1).max(axis=1)
                worst = int(by_text.argmax())
                raise ArtifactError(
                    f"The artifact that was written answers otherwise than the trained model: "
                    f"{name} should agree to {TOLERANCE:g} on {len(one.texts)} texts. Received: a "
                    f"difference of {by_text[worst]:g} on {_quoted(one.texts[worst])}"
                )
            largest = max(largest, float(difference[close].max()))
    return largest


def _difference(found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return float64 in the shape of `values`; infinite for other strings and other shapes."""
    if found.shape != values.shape:
        return np.full(values.shape, np.inf)
    if values.dtype == object:
        return np.where(found == values, 0.0, np.inf)
    return np.abs(found - values)


def _quoted(text: str | tuple[str, str]) -> str:
    parts = [text] if isinstance(text, str) else text
    return " on ".join(repr(part[:80]) for part in parts)


def main() -> None:
    """Answer what stands on standard input with the artifact that the argument names."""
    import tensorflow as tf

    from tfhub_transfer.artifact.predictor import CLASSIFY, Predictor, as_instance

    questions = json.load(sys.stdin)
    predictor = Predictor.load(sys.argv[1])
    answers: list[dict[str, Any]] = []
    for question in questions:
        signature, values = question["signature"], [as_instance(t) for t in question["texts"]]
        if predictor.signatures[signature].method == CLASSIFY:
            values = [_example(tf, text) for text in values]
        outputs = predictor.run(values, signature)
        answers.append({name: _plain(outputs[name]) for name in question["outputs"]})
    json.dump(answers, sys.stdout)


def _plain(values: np.ndarray) -> Any:
    """Return an array as JSON has it."""
    if values.dtype == object:
        texts = [one.decode("utf-8") for one in values.ravel()]
        values = np.array(texts, object).reshape(values.shape)
    return values.tolist()


def _example(tf: Any, text: bytes) -> bytes:
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
    features = tf.train.Features(feature={"text": value})
    serialized: bytes = tf.train.Example(features=features).SerializeToString()
    return serialized


if __name__ == "__main__":
    main()
