"""What the package offers under its own name."""

from __future__ import annotations

import importlib

import pytest

import tfhub_transfer


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
