"""The catalogue is data: these tests hold the data to its own rules."""

import dataclasses
import re
import subprocess
import sys
from urllib.parse import urlparse

import pytest

from tfhub_transfer.encoders import catalogue as module
from tfhub_transfer.encoders.catalogue import CATALOGUE, build_catalogue, find

SPECS = list(CATALOGUE.values())
ON_KAGGLE = [spec for spec in SPECS if spec.kaggle]
FETCHED = [spec for spec in SPECS if not spec.built]
KAGGLE_FORM = r"(google|tensorflow)/[a-z-]+/tensorFlow2/[a-z0-9-]+/\d+"


def by_name(spec):
    return spec.name


def test_public_names_exist():
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_record_is_complete(spec):
    assert CATALOGUE[spec.name] is spec
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", spec.name)
    assert spec.kind in ("text_embedding", "transformer")
    assert spec.licence == "Apache-2.0"
    assert spec.width > 0
    assert spec.size_mb is None or spec.size_mb > 0
    assert spec.languages
    assert all(re.fullmatch(r"[a-z]{2}|multi", code) for code in spec.languages)
    assert re.fullmatch(r"[^.]+(\.\d[^.]*)*\.", spec.description), "one sentence"
    assert urlparse(spec.source).scheme == "https"


def test_names_and_handles_are_unique():
    for field in ("name", "handle", "kaggle"):
        values = [getattr(spec, field) for spec in SPECS if getattr(spec, field)]
        assert len(values) == len(set(values)), field


@pytest.mark.parametrize("spec", FETCHED, ids=by_name)
def test_handle_of_a_fetched_encoder(spec):
    url = urlparse(spec.handle)
    assert (url.scheme, url.netloc) == ("https", "tfhub.dev")
    publisher, *model, version = url.path.strip("/").split("/")
    assert publisher in ("google", "tensorflow")
    assert model
    assert version.isdecimal()
    assert spec.source.endswith(f"/{publisher}/models/{'/'.join(model)}/{version}.md")


@pytest.mark.parametrize("spec", FETCHED, ids=by_name)
def test_only_transformers_have_a_preprocess_model(spec):
    if spec.kind == "transformer":
        assert re.fullmatch(r"https://tfhub\.dev/tensorflow/bert_\w+_preprocess/3", spec.preprocess)
    else:
        assert spec.preprocess is None


@pytest.mark.parametrize("name", ["en_uncased", "en_cased", "multi_cased"])
def test_preprocess_model_has_its_encoders_vocabulary(name):
    matching = [spec for spec in FETCHED if f"bert_{name}_" in spec.handle]
    assert matching
    assert {spec.preprocess for spec in matching} == {
        f"https://tfhub.dev/tensorflow/bert_{name}_preprocess/3"
    }


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_find_by_name_and_handle(spec):
    bare = spec.handle.removeprefix("https://")
    for form in (spec.name, spec.handle, spec.handle + "/", f" {spec.handle}\n", bare):
        assert find(form) is spec


@pytest.mark.parametrize("spec", ON_KAGGLE, ids=by_name)
def test_find_by_kaggle_handle_and_url(spec):
    assert re.fullmatch(KAGGLE_FORM, spec.kaggle)
    owner, model, framework, variation, version = spec.kaggle.split("/")
    url = f"https://www.kaggle.com/models/{spec.kaggle}"
    parts = f"frameworks/{framework}/variations/{variation}/versions/{version}"
    forms = (
        spec.kaggle,
        spec.kaggle.replace("tensorFlow2", "TensorFlow2"),
        url,
        url + "/",
        url + "?tfhub-redirect=true",
        url.replace("www.", ""),
        url.replace("tensorFlow2", "TensorFlow2"),
        f"https://kaggle.com/models/{owner}/{model}/{parts}",
    )
    for form in forms:
        assert find(form) is spec, form


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "",
        "/",
        "https://tfhub.dev/google/nope/1",
        "https://tfhub.dev/google/nnlm-en-dim50/1",
        "https://tfhub.dev/google/nnlm-en-dim50",
        "google/nnlm/tensorFlow1/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm",
    ],
)
def test_find_returns_none_for_the_unknown(text):
    assert find(text) is None


def test_find_ignores_the_query_string():
    url = "https://tfhub.dev/google/nnlm-en-dim50/2?tf-hub-format=compressed"
    assert find(url) is CATALOGUE["nnlm-en-dim50"]


def test_kaggle_counts_versions_per_framework():
    assert find("https://www.kaggle.com/models/google/nnlm/TensorFlow2/en-dim50/1") is find(
        "https://tfhub.dev/google/nnlm-en-dim50/2"
    )


def test_duplicate_name_is_refused():
    spec = CATALOGUE["gnews-swivel-20dim"]
    twin = dataclasses.replace(spec, handle="https://tfhub.dev/google/other/1", kaggle=None)
    with pytest.raises(ValueError, match="names must be unique.*'gnews-swivel-20dim'.*other/1"):
        build_catalogue([spec, twin])


@pytest.mark.parametrize("changes", [{"kaggle": None}, {"handle": "https://tfhub.dev/google/o/1"}])
def test_duplicate_handle_is_refused(changes):
    spec = CATALOGUE["gnews-swivel-20dim"]
    twin = dataclasses.replace(spec, name="twin", **changes)
    with pytest.raises(ValueError, match="handles must be unique.*'gnews-swivel-20dim' and 'twin'"):
        build_catalogue([spec, twin])


def test_build_catalogue_keeps_order():
    assert list(build_catalogue(reversed(SPECS))) == [spec.name for spec in reversed(SPECS)]


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPECS[0].width = 1
    assert isinstance(hash(SPECS[0]), int)


def test_nnlm_family():
    for code in ("de", "en", "es", "id", "ja", "ko", "zh"):
        for width in (50, 128):
            for suffix, ending in (("", ""), ("-normalization", "-with-normalization")):
                spec = CATALOGUE[f"nnlm-{code}-dim{width}{suffix}"]
                assert spec.handle == f"https://tfhub.dev/google/nnlm-{code}-dim{width}{ending}/2"
                assert (spec.kind, spec.width) == ("text_embedding", width)
                assert spec.languages == (code,)
    assert sum(name.startswith("nnlm-") for name in CATALOGUE) == 28


def test_small_bert_family():
    heads = {128: 2, 256: 4, 512: 8, 768: 12}
    for layers in (2, 4, 6, 8, 10, 12):
        for width, count in heads.items():
            spec = CATALOGUE[f"small-bert-l{layers}-h{width}-a{count}"]
            assert spec.handle == (
                "https://tfhub.dev/tensorflow/small_bert/"
                f"bert_en_uncased_L-{layers}_H-{width}_A-{count}/2"
            )
            assert (spec.kind, spec.width) == ("transformer", width)
    assert sum(name.startswith("small-bert-") for name in CATALOGUE) == 24


@pytest.mark.parametrize(
    ("name", "handle", "kind", "width", "language"),
    [
        (
            "gnews-swivel-20dim",
            "google/tf2-preview/gnews-swivel-20dim/1",
            "text_embedding",
            20,
            "en",
        ),
        (
            "gnews-swivel-20dim-with-oov",
            "google/tf2-preview/gnews-swivel-20dim-with-oov/1",
            "text_embedding",
            20,
            "en",
        ),
        (
            "bert-base-uncased",
            "tensorflow/bert_en_uncased_L-12_H-768_A-12/4",
            "transformer",
            768,
            "en",
        ),
        ("bert-base-cased", "tensorflow/bert_en_cased_L-12_H-768_A-12/4", "transformer", 768, "en"),
        (
            "bert-base-multi-cased",
            "tensorflow/bert_multi_cased_L-12_H-768_A-12/4",
            "transformer",
            768,
            "multi",
        ),
        (
            "universal-sentence-encoder",
            "google/universal-sentence-encoder/4",
            "text_embedding",
            512,
            "en",
        ),
        (
            "universal-sentence-encoder-large",
            "google/universal-sentence-encoder-large/5",
            "text_embedding",
            512,
            "en",
        ),
    ],
)
def test_single_models(name, handle, kind, width, language):
    spec = CATALOGUE[name]
    assert spec.handle == f"https://tfhub.dev/{handle}"
    assert (spec.kind, spec.width, spec.languages) == (kind, width, (language,))
    assert not spec.built


@pytest.mark.parametrize(
    ("name", "kind", "width", "size_mb"),
    [("minilm-l6", "transformer", 384, 91), ("minilm-static", "text_embedding", 256, 6)],
)
def test_built_models(name, kind, width, size_mb):
    spec = CATALOGUE[name]
    assert (spec.kind, spec.width, spec.size_mb) == (kind, width, size_mb)
    assert spec.built
    assert spec.handle.startswith("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2")
    assert spec.preprocess is None
    assert spec.kaggle is None


def test_nothing_else_is_built():
    assert {spec.name for spec in SPECS if spec.built} == {"minilm-l6", "minilm-static"}


def test_import_needs_no_tensorflow():
    code = (
        "import sys, tfhub_transfer.encoders.catalogue\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
