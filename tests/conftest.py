"""Fixtures that all tests share. No test touches the user's caches or the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read by TensorFlow when it is imported, which some test module does first.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that use it are marked `real_data`."""
    folder = os.environ.get("TFHUB_TRANSFER_TEST_DATA")
    if not folder:
        pytest.skip("TFHUB_TRANSFER_TEST_DATA does not name the folder of real data sets")
    return Path(folder)


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the session an encoder cache and a feature cache of its own."""
    root = tmp_path_factory.getbasetemp()
    variables = {"TFHUB_CACHE_DIR": "encoders", "TFHUB_TRANSFER_CACHE_DIR": "features"}
    for variable, name in variables.items():
        monkeypatch.setenv(variable, str(root / name))


@pytest.fixture
def no_report() -> Iterator[None]:
    """Leave out the report of each run, which takes longer than the training."""
    from tests import trained  # brings TensorFlow

    with trained.without_report():
        yield
