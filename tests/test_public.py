"""What the package offers under its own name."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import tfhub_transfer
from tfhub_transfer import cli


def test_every_public_name_is_there():
    assert tfhub_transfer.__all__
    assert len(set(tfhub_transfer.__all__)) == len(tfhub_transfer.__all__)
    assert {"Config", "HubLayer", "run_experiment"} <= set(tfhub_transfer.__all__)
    for name in tfhub_transfer.__all__:
        assert getattr(tfhub_transfer, name) is not None


def test_all_is_what_is_loaded_lazily():
    assert sorted(tfhub_transfer.__all__) == sorted(tfhub_transfer._PUBLIC)
    for name, target in tfhub_transfer._PUBLIC.items():
        module, _, attribute = target.partition(":")
        there = getattr(importlib.import_module(module), attribute or name)
        assert getattr(tfhub_transfer, name) is there


def test_a_star_brings_all_of_it():
    space: dict[str, object] = {}
    exec("from tfhub_transfer import *", space)
    assert space.keys() - {"__builtins__"} == set(tfhub_transfer.__all__)


def test_dir_lists_the_names():
    listed = dir(tfhub_transfer)
    assert set(tfhub_transfer.__all__) <= set(listed)
    assert "__version__" in listed
    assert listed == sorted(listed)


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="'tfhub_transfer' has no attribute 'Klassifier'"):
        tfhub_transfer.Klassifier  # noqa: B018
    assert not hasattr(tfhub_transfer, "__wrapped__")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from tfhub_transfer import nothing  # noqa: F401


@pytest.mark.parametrize(
    ("notebook", "imported", "expected"),
    [(True, False, 1), (True, True, 0), (False, False, 0)],
)
def test_a_notebook_does_not_show_the_log_of_tensorflow_s_start(
    monkeypatch, notebook, imported, expected
):
    started: list[None] = []
    monkeypatch.setattr(cli, "import_tensorflow", lambda: started.append(None))
    for name, there in {"ipykernel": notebook, "tensorflow": imported}.items():
        if there:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        else:
            monkeypatch.delitem(sys.modules, name, raising=False)
    assert tfhub_transfer.Config is not None
    assert len(started) == expected
