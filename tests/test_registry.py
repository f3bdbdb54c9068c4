"""Names, and where their code is."""

from __future__ import annotations

import sys

import pytest

from tfhub_transfer.errors import ConfigError, UnknownNameError
from tfhub_transfer.registry import STRATEGIES, TASKS, Registry, did_you_mean


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "made_for_the_registry.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "made_for_the_registry"
    sys.modules.pop("made_for_the_registry", None)


def test_code_is_imported_when_it_is_used(module):
    registry = Registry("thing", {"one": f"{module}:Thing", "broken": "no_such_module:Thing"})
    registry.check("broken")
    assert list(registry) == ["one", "broken"]
    assert module not in sys.modules
    assert registry.load("one") is sys.modules[module].Thing
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.load("broken")


def test_a_name_stands_for_one_thing():
    registry = Registry("thing", {"one": "a:b"})
    with pytest.raises(ConfigError, match=r"thing 'one' is registered already, as 'a:b'.*'c:d'"):
        registry.add("one", "c:d")
    assert list(registry) == ["one"]


@pytest.mark.parametrize("target", ["module", "a:b:c", ""])
def test_what_is_no_import_path_is_refused(target):
    with pytest.raises(ConfigError, match=r"registered as 'module:attribute'\. Received: "):
        Registry("thing", {"one": target})


@pytest.mark.parametrize("method", ["check", "load"])
def test_an_unknown_name_brings_the_closest_one(method):
    registry = Registry("thing", {"static": "a:b", "dynamic": "a:c"})
    with pytest.raises(
        UnknownNameError,
        match=r"Unknown thing\. Did you mean 'static'\? Accepted: static, dynamic\. "
        r"Received: 'statik'",
    ):
        getattr(registry, method)("statik")
    with pytest.raises(UnknownNameError, match=r"Unknown thing\. Accepted: .*Received: 'xyz'"):
        registry.check("xyz")


def test_nothing_close_is_no_hint():
    assert did_you_mean("xyz", ["static"]) == ""
    assert did_you_mean("statc", iter(["static", "other"])) == " Did you mean 'static'?"


@pytest.mark.parametrize("registry", [TASKS, STRATEGIES])
def test_everything_registered_exists(registry):
    assert list(registry)
    for name in registry:
        assert isinstance(registry.load(name), type)
