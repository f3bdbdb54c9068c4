"""What the ids of a transformer's word pieces mean, found out from its preprocessor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfhub_transfer.encoders.handles import Encoder
from tfhub_transfer.encoders.packing import SpecialTokens, special_tokens
from tfhub_transfer.errors import EncoderError

__all__ = ["MASK", "SPECIAL", "PieceVocabulary"]

MASK = "[MASK]"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)
"""What BERT's vocabularies begin with here; its texts are not split into these."""
_CONTINUES = "##"


@dataclass(frozen=True)
class PieceVocabulary:
    """Word pieces as masking needs to know them.

    Attributes:
        pieces: in the order of their ids; V of them.
        special: the ids around a text and behind it.
        mask: the id of `[MASK]`.
    """

    pieces: tuple[str, ...]
    special: SpecialTokens
    mask: int

    @classmethod
    def of(cls, preprocess: Any, encoder: Encoder) -> PieceVocabulary:
        """Read the vocabulary of a loaded preprocessor.

        Those that `encoders build` makes tell it; TF Hub's BERTs have it as an asset.

        Raises:
            EncoderError: there is none to be read, or it has no `[MASK]`.
        """
        pieces = _told(preprocess) or _asset(encoder)
        if MASK not in pieces:
            raise EncoderError(
                f"Masked language modelling replaces word pieces by {MASK}, which the vocabulary "
                f"of the preprocessor has to have. Accepted: TF Hub's BERTs, whose preprocessor "
                f"has its vocabulary as an asset, and what `python -m tfhub_transfer.encoders "
                f"build` makes; an older build has to be built anew. Received: {encoder.handle}, "
                f"{f'{len(pieces):,} word pieces' if pieces else 'no vocabulary'}"
            )
        special = special_tokens(preprocess, encoder.handle)
        return cls(pieces, special, pieces.index(MASK))

    @property
    def begins_word(self) -> np.ndarray:
        """bool[V], whether a piece is the first of its word."""
        return np.array([not piece.startswith(_CONTINUES) for piece in self.pieces])

    @property
    def ordinary(self) -> np.ndarray:
        """int32[R], the ids that may stand for a word at random: no special or unused ones."""
        named = [piece.startswith("[") and piece.endswith("]") for piece in self.pieces]
        return np.flatnonzero(~np.array(named)).astype(np.int32)


def _told(preprocess: Any) -> tuple[str, ...]:
    if not hasattr(preprocess, "vocabulary"):
        return ()
    return tuple(piece.decode() for piece in preprocess.vocabulary().numpy())


def _asset(encoder: Encoder) -> tuple[str, ...]:
    assert encoder.preprocess is not None
    for file in sorted((encoder.preprocess / "assets").glob("*.txt")):
        pieces = tuple(file.read_text(encoding="utf-8").split("\n"))
        if MASK in pieces:
            return pieces[:-1] if pieces[-1] == "" else pieces
    return ()
