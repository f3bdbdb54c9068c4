"""Are our vectors those of sentence-transformers? Compares with stored reference vectors.

Three of the reference texts are tokenised differently, and are shown on their own: a literal
special token is text to us, and tensorflow-text folds U+2026 and ligatures to the letters they
stand for.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence

import numpy as np

from benchmarks.table import data_dir, print_heading, print_table, reached, say

FLOAT32_TARGET = 1e-5
BFLOAT16_TARGET = 0.999
EXCEPTIONS = {
    "a literal special token": re.compile(r"\[(CLS|SEP|PAD|UNK|MASK)\]"),
    "U+2026": re.compile("\N{HORIZONTAL ELLIPSIS}"),
    "a ligature": re.compile("[\ufb00-\ufb06]"),
}
EXPECTED_EXCEPTIONS = 3


def main() -> None:
    """Encode the reference texts and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    arguments.parse_args()
    folder = data_dir() / "reference"
    reference = json.loads((folder / "minilm_l6.json").read_text(encoding="utf-8"))
    expected, texts = np.load(folder / "minilm_l6.npy"), reference["texts"]
    excepted = np.array([bool(_exceptions(text)) for text in texts])
    if excepted.sum() != EXPECTED_EXCEPTIONS:
        raise SystemExit(
            f"error: {EXPECTED_EXCEPTIONS} reference texts should be known to differ. "
            f"Received: {excepted.sum()}"
        )
    rows, cosines = [], {}
    for precision in ("float32", "bfloat16"):
        say(f"encoding in {precision}")
        vectors = encode(texts, precision)
        # both are normalised, but for rounding
        cosines[precision] = _cosines(vectors, expected)
        rows.append(_row(precision, vectors, expected, cosines[precision], ~excepted))
    print_heading("Vectors of MiniLM-L6 against sentence-transformers'")
    print(f"Reference: {reference['model']}, {reference['made_with']}; {len(texts)} texts.\n")
    columns = ["Precision", "Texts", "Largest difference", "Lowest cosine", "Target", "Reached"]
    print_table(columns, rows)
    print("Texts that are known to be tokenised differently, and are not counted above:\n")
    known = [
        [_exceptions(texts[index]), *(f"{cosines[p][index]:.4f}" for p in cosines)]
        for index in np.flatnonzero(excepted)
    ]
    print_table(["Contains", *(f"Cosine, {precision}" for precision in cosines)], known)


def encode(texts: Sequence[str], precision: str) -> np.ndarray:
    """Return float32[N, 384] through the public path."""
    from tfhub_transfer.encoders.bulk import BulkEncoder
    from tfhub_transfer.encoders.layer import HubLayer
    from tfhub_transfer.encoders.resolve import resolve

    layer = HubLayer(resolve("minilm-l6", offline=True))
    return BulkEncoder(layer, "bfloat16" if precision == "bfloat16" else "float32")(texts)


def _row(
    precision: str,
    vectors: np.ndarray,
    expected: np.ndarray,
    cosines: np.ndarray,
    counted: np.ndarray,
) -> list[str]:
    difference = float(np.abs(vectors - expected)[counted].max())
    cosine = float(cosines[counted].min())
    if precision == "float32":
        target, good = f"difference <= {FLOAT32_TARGET:g}", difference <= FLOAT32_TARGET
    else:
        target, good = f"cosine >= {BFLOAT16_TARGET}", cosine >= BFLOAT16_TARGET
    count = f"{counted.sum()} of {len(counted)}"
    return [precision, count, f"{difference:.1e}", f"{cosine:.7f}", target, reached(good)]


def _cosines(vectors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    cosines: np.ndarray = (vectors * expected).sum(axis=1) / norms
    return cosines


def _exceptions(text: str) -> str:
    return ", ".join(name for name, pattern in EXCEPTIONS.items() if pattern.search(text))


if __name__ == "__main__":
    main()
