"""The arrows between the parts of the package, and what a command pays to start."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfhub_transfer

ROOT = Path(tfhub_transfer.__file__).parent
PACKAGE = "tfhub_transfer"
BASE = {"config", "checks", "dotted", "registry", "errors", "runs", "progress"}
BASE |= {"strategy_config", "task_config"}
COMMANDS = {"train", "tune", "evaluate", "export", "predict", "serve", "encoders.__main__"}
COMMANDS |= {"pretrain"}
FOLDERS = {
    "data": set(),
    "encoders": set(),
    "heads": {"encoders"},
    "training": {"data", "encoders", "heads"},
    "evaluation": {"data", "heads", "training"},
    "artifact": {"data", "encoders", "heads", "training", "evaluation"},
    "serving": {"artifact.predictor"},
    "pretraining": {"data", "encoders"},
}
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_hub", "keras", "keras_tuner"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports_of(source: str, package: str) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it, names from a module too.

    `package` is what a relative import starts from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) + 1 - node.level]
            start = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str:
    """Return the part a module belongs to: a folder, `base`, `cli`, `command` or `root`."""
    first = name.split(".")[0]
    if name in COMMANDS:
        return "command"
    if name == "__init__":
        return "root"
    if first in BASE:
        return "base"
    return first


def ours(imported: str) -> str | None:
    """Return the longest module of ours in a dotted name, without the package's; else None."""
    parts = imported.split(".")
    if parts[0] != PACKAGE:
        return None
    for size in range(len(parts), 1, -1):
        for name in (".".join(parts[1:size]), ".".join([*parts[1:size], "__init__"])):
            if name in MODULES:
                return name
    return "__init__"


def allowed(importer: str, imported: str) -> bool:
    source, target = part_of(importer), part_of(imported)
    if target in ("command", "root"):
        return source == "root" == target
    if source == "command":
        return True
    if target == "base":
        return True
    if source in ("base", "root"):
        return False
    # a server and `predict` load this, and nothing of training with it
    if importer == "artifact.predictor":
        return False
    if source == "cli":
        return target == "cli"
    if source == target:
        return True
    return any(f"{imported}.".startswith(f"{part}.") for part in FOLDERS[source])


def arrows() -> list[tuple[str, str]]:
    return [
        (name, target)
        for name, path in MODULES.items()
        for imported in imports_of(
            path.read_text(encoding="utf-8"), ".".join([PACKAGE, *name.split(".")[:-1]])
        )
        if (target := ours(imported)) is not None
    ]


def test_every_arrow_is_one_that_the_design_allows():
    found = arrows()
    assert ("training.loop", "training.schedule") in found
    assert ("train", "evaluation.experiment") in found, "imports inside functions count"
    wrong = {f"{source} -> {target}" for source, target in found if not allowed(source, target)}
    assert not wrong


@pytest.mark.parametrize(
    ("importer", "imported", "expected"),
    [
        ("data.pipeline", "encoders.layer", False),
        ("encoders.cache", "data.examples", False),
        ("runs", "config", True),
        ("runs", "data.examples", False),
        ("config", "cli", False),
        ("training.loop", "cli", False),
        ("heads.classification", "training.loop", False),
        ("training.loop", "evaluation.metrics", False),
        ("evaluation.scoring", "encoders.layer", False),
        ("serving.rest", "artifact.predictor", True),
        ("serving.rest", "artifact.writer", False),
        ("artifact.writer", "training.classifier", True),
        ("artifact.predictor", "encoders.layer", False),
        ("artifact.predictor", "errors", True),
        ("train", "predict", False),
        ("train", "evaluation.experiment", True),
        ("encoders.__main__", "cli", True),
        ("evaluation.experiment", "train", False),
    ],
)
def test_the_rule_itself(importer, imported, expected):
    assert allowed(importer, imported) is expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import tensorflow as tf", ["tensorflow"]),
        ("from tfhub_transfer.data import files, table", ["data.files", "data.table"]),
        ("from ..data.table import Table", ["data.table"]),
        ("def f():\n    from . import loop", ["training.loop"]),
    ],
)
def test_imports_are_found_in_every_form(statement, expected):
    found = list(imports_of(statement, f"{PACKAGE}.training"))
    assert [ours(name) or name for name in found] == expected


def test_no_part_is_unknown():
    assert {part_of(name) for name in MODULES} <= {*FOLDERS, "base", "cli", "command", "root"}


def test_the_base_and_data_border_import_no_tensorflow():
    for name, path in MODULES.items():
        if part_of(name) in ("base", "root"):
            found = {imported.split(".")[0] for imported in imports_of(path.read_text(), "")}
            assert not found & TENSORFLOW, name


def test_nothing_imports_the_old_keras():
    for name, path in MODULES.items():
        assert not any(
            imported.split(".")[0] == "tf_keras" or imported.startswith("tensorflow.keras")
            for imported in imports_of(path.read_text(encoding="utf-8"), "")
        ), name


def test_files_are_small_and_say_what_they_are_for():
    for name, path in MODULES.items():
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") < 400, f"{name} is too long"
        assert ast.get_docstring(ast.parse(source)), name
        assert "utils" not in name.split("."), name
    for command in COMMANDS & MODULES.keys() - {"encoders.__main__"}:
        assert MODULES[command].read_text(encoding="utf-8").count("\n") < 60, command


PARSERS = """
import json, sys
import tfhub_transfer, tfhub_transfer.cli
from contextlib import redirect_stdout
from io import StringIO

helped = {}
for name in sys.argv[1:]:
    module = __import__(f"tfhub_transfer.{name}", fromlist=["main"])
    with redirect_stdout(StringIO()) as printed:
        try:
            module.main(["--help"])
        except SystemExit as end:
            helped[name] = [end.code, printed.getvalue().splitlines()[0]]
print(json.dumps([helped, sorted({m.split(".")[0] for m in sys.modules})]))
"""


def test_no_command_imports_tensorflow_to_read_its_flags():
    commands = sorted(COMMANDS & MODULES.keys())
    result = subprocess.run(
        [sys.executable, "-c", PARSERS, *commands],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    helped, loaded = json.loads(result.stdout)
    assert helped.keys() == set(commands)
    for name, (code, usage) in helped.items():
        assert code == 0
        assert f"{PACKAGE}.{name.removesuffix('.__main__')}" in usage
    heavy = TENSORFLOW | {"sklearn", "matplotlib", "pyarrow", "tensorflow_datasets", "tensorboard"}
    assert not heavy & set(loaded)
