"""The encoders this project knows, as plain records: what they are, not how they load.

Papers:
    NNLM: Bengio et al., A Neural Probabilistic Language Model, JMLR 3, 2003.
    Swivel: Shazeer et al., https://arxiv.org/abs/1602.02215
    BERT: Devlin et al., https://arxiv.org/abs/1810.04805
    Small BERT: Turc et al., https://arxiv.org/abs/1908.08962
    Universal Sentence Encoder: Cer et al., https://arxiv.org/abs/1803.11175
    MiniLM: Wang et al., https://arxiv.org/abs/2002.10957
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["CATALOGUE", "EncoderSpec", "build_catalogue", "find"]

TFHUB = "https://tfhub.dev/"
MINILM = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2"

# TF Hub assumes this licence where a model's page names no other, and none of these pages does:
# https://www.tensorflow.org/hub/writing_documentation
TFHUB_LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One encoder.

    Attributes:
        name: Short name for the command line, lower-case words joined by hyphens.
        handle: Where the encoder is published, version included. Where `built` is true it names
            the origin instead, and nothing is fetched from it as a SavedModel.
        kind: `text_embedding` maps string[B] to float32[B, width]; `transformer` is an encoder
            that needs the outputs of a preprocess model.
        width: Output dimension.
        languages: ISO 639-1 codes, or `("multi",)`.
        licence: SPDX identifier.
        size_mb: Size in megabytes as its source states it, None where it states none.
        preprocess: Handle of the preprocess model that goes with a transformer.
        built: True where this project makes or ships the encoder itself.
        kaggle: The same model on Kaggle, OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, where known.
        description: One short sentence.
        source: The page these facts come from.
    """

    name: str
    handle: str
    kind: Literal["text_embedding", "transformer"]
    width: int
    languages: tuple[str, ...]
    licence: str
    size_mb: int | None = None
    preprocess: str | None = None
    built: bool = False
    kaggle: str | None = None
    description: str
    source: str


# Language code, language. Each comes in NNLM_WIDTHS, with and without normalisation.
NNLM_LANGUAGES = (
    ("de", "German"),
    ("en", "English"),
    ("es", "Spanish"),
    ("id", "Indonesian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("zh", "Chinese"),
)
NNLM_WIDTHS = (50, 128)

# Kaggle counts versions per framework, so its TensorFlow 2 version 1 is TF Hub's version 2, whose
# version 1 was for TensorFlow 1. Only variations seen in use are listed, here and below.
NNLM_ON_KAGGLE = {"de-dim50", "de-dim128", "en-dim50", "en-dim128", "id-dim128-with-normalization"}

SMALL_BERT_WIDTHS = (128, 256, 512, 768)
SMALL_BERT_HEAD_WIDTH = 64
# Layers, and the widths seen on Kaggle. All versions are for TensorFlow 2: both sites count alike.
SMALL_BERT = {2: (128, 768), 4: (128, 256), 6: (128,), 8: (128, 768), 10: (128,), 12: (128, 768)}

# Name, TF Hub's word for the vocabulary, languages, description.
BERT_BASE = (
    ("bert-base-uncased", "en_uncased", ("en",), "BERT base for lower-cased English."),
    ("bert-base-cased", "en_cased", ("en",), "BERT base for English with case and accents kept."),
    (
        "bert-base-multi-cased",
        "multi_cased",
        ("multi",),
        "BERT base trained on Wikipedia in many languages, case and accents kept.",
    ),
)

# Name, path on TF Hub, width, size in MB, Kaggle handle, description.
TEXT_EMBEDDINGS = (
    (
        "gnews-swivel-20dim",
        "google/tf2-preview/gnews-swivel-20dim/1",
        20,
        None,
        "google/gnews-swivel/tensorFlow2/tf2-preview-20dim/1",
        "20,000 English word vectors from Google News, one bucket for all unknown words.",
    ),
    (
        "gnews-swivel-20dim-with-oov",
        "google/tf2-preview/gnews-swivel-20dim-with-oov/1",
        20,
        None,
        "google/gnews-swivel/tensorFlow2/tf2-preview-20dim-with-oov/1",
        "20,000 English word vectors from Google News, the rarest 2.5% turned into hash buckets.",
    ),
    (
        "universal-sentence-encoder",
        "google/universal-sentence-encoder/4",
        512,
        1000,
        "google/universal-sentence-encoder/tensorFlow2/universal-sentence-encoder/2",
        "English sentences and short paragraphs through a deep averaging network.",
    ),
    (
        "universal-sentence-encoder-large",
        "google/universal-sentence-encoder-large/5",
        512,
        800,
        "google/universal-sentence-encoder/tensorFlow2/large/2",
        "English sentences and short paragraphs through a Transformer that reads plain strings.",
    ),
)


def build_catalogue(records: Iterable[EncoderSpec]) -> dict[str, EncoderSpec]:
    """Indexes records by name.

    Args:
        records: Encoders, in the order in which they are to be listed.

    Returns:
        The records by name.

    Raises:
        ValueError: Two records share a name, a handle or a Kaggle handle.
    """
    catalogue: dict[str, EncoderSpec] = {}
    owners: dict[str, str] = {}
    for spec in records:
        if spec.name in catalogue:
            raise ValueError(
                f"Encoder names must be unique. Received {spec.name!r} for both "
                f"{catalogue[spec.name].handle} and {spec.handle}."
            )
        # A saved model records its encoder's handle, so a handle has to mean one encoder.
        for key in _keys(spec):
            if key in owners:
                raise ValueError(
                    f"Encoder handles must be unique. Received {key!r} for both "
                    f"{owners[key]!r} and {spec.name!r}."
                )
            owners[key] = spec.name
        catalogue[spec.name] = spec
    return catalogue


def find(name_or_handle: str) -> EncoderSpec | None:
    """Looks an encoder up by anything it is known by.

    Args:
        name_or_handle: A name, a handle, or a Kaggle handle or URL. Letter case, a trailing slash
            and a query string make no difference; the version does.

    Returns:
        The record, or None where there is none.
    """
    return _BY_KEY.get(_key(name_or_handle))


def _key(text: str) -> str:
    """Reduces the spellings of one name, handle or URL to a single form."""
    key = text.strip().partition("?")[0].rstrip("/").lower()
    key = re.sub(r"^(https?://)?(www\.)?(kaggle\.com/models/)?", "", key)
    # Kaggle's first URLs named each part: .../frameworks/F/variations/V/versions/N.
    return re.sub(r"/(frameworks|variations|versions)(?=/)", "", key)


def _keys(spec: EncoderSpec) -> list[str]:
    return [_key(form) for form in (spec.name, spec.handle, spec.kaggle) if form]


def _tfhub_page(handle: str) -> str:
    """Finds a TF Hub model's page, whose text outlived the site in a repository."""
    publisher, _, model = handle.removeprefix(TFHUB).partition("/")
    pages = "https://github.com/tensorflow/tfhub.dev/blob/master/assets/docs"
    return f"{pages}/{publisher}/models/{model}.md"


def _tfhub(name: str, path: str, **fields) -> EncoderSpec:
    """Makes the record of a model published at `path` on TF Hub."""
    handle = TFHUB + path
    source = _tfhub_page(handle)
    return EncoderSpec(name=name, handle=handle, licence=TFHUB_LICENCE, source=source, **fields)


def _nnlm() -> Iterator[EncoderSpec]:
    for code, language in NNLM_LANGUAGES:
        for width in NNLM_WIDTHS:
            for normalised in (False, True):
                model = f"{code}-dim{width}" + "-with-normalization" * normalised
                on_kaggle = model in NNLM_ON_KAGGLE
                yield _tfhub(
                    f"nnlm-{code}-dim{width}" + "-normalization" * normalised,
                    f"google/nnlm-{model}/2",
                    kind="text_embedding",
                    width=width,
                    languages=(code,),
                    kaggle=f"google/nnlm/tensorFlow2/{model}/1" if on_kaggle else None,
                    description=f"{language} word vectors from Google News"
                    + (", punctuation removed first." if normalised else ", split on spaces."),
                )


def _text_embeddings() -> Iterator[EncoderSpec]:
    for name, path, width, size_mb, kaggle, description in TEXT_EMBEDDINGS:
        yield _tfhub(
            name,
            path,
            kind="text_embedding",
            width=width,
            languages=("en",),
            size_mb=size_mb,
            kaggle=kaggle,
            description=description,
        )


def _small_bert() -> Iterator[EncoderSpec]:
    for layers, widths_on_kaggle in SMALL_BERT.items():
        for width in SMALL_BERT_WIDTHS:
            heads = width // SMALL_BERT_HEAD_WIDTH
            model = f"bert_en_uncased_L-{layers}_H-{width}_A-{heads}"
            variation = model.replace("_", "-").lower()
            on_kaggle = width in widths_on_kaggle
            yield _tfhub(
                f"small-bert-l{layers}-h{width}-a{heads}",
                f"tensorflow/small_bert/{model}/2",
                kind="transformer",
                width=width,
                languages=("en",),
                preprocess=f"{TFHUB}tensorflow/bert_en_uncased_preprocess/3",
                kaggle=f"tensorflow/bert/tensorFlow2/{variation}/2" if on_kaggle else None,
                description=f"Small BERT for lower-cased English, {layers} layers.",
            )


def _bert_base() -> Iterator[EncoderSpec]:
    for name, vocabulary, languages, description in BERT_BASE:
        variation = vocabulary.replace("_", "-") + "-l-12-h-768-a-12"
        yield _tfhub(
            name,
            f"tensorflow/bert_{vocabulary}_L-12_H-768_A-12/4",
            kind="transformer",
            width=768,
            languages=languages,
            preprocess=f"{TFHUB}tensorflow/bert_{vocabulary}_preprocess/3",
            kaggle=f"tensorflow/bert/tensorFlow2/{variation}/4",
            description=description,
        )


def _minilm() -> Iterator[EncoderSpec]:
    shared = {"languages": ("en",), "licence": "Apache-2.0", "built": True, "source": MINILM}
    yield EncoderSpec(
        name="minilm-l6",
        handle=MINILM,
        kind="transformer",
        width=384,
        size_mb=91,
        description="Sentence encoder of 6 layers, trained on pairs of English sentences.",
        **shared,
    )
    yield EncoderSpec(
        name="minilm-static",
        # The fragment tells it from minilm-l6, with which it shares its origin.
        handle=f"{MINILM}#static",
        kind="text_embedding",
        width=256,
        size_mb=6,
        description="English token vectors distilled from minilm-l6, shipped in the package.",
        **shared,
    )


CATALOGUE: dict[str, EncoderSpec] = build_catalogue(
    [*_minilm(), *_nnlm(), *_text_embeddings(), *_small_bert(), *_bert_base()]
)
_BY_KEY = {key: spec for spec in CATALOGUE.values() for key in _keys(spec)}
