"""The lessons: kept without outputs, on the public names alone, and run from top to bottom."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from types import ModuleType

import nbformat
import psutil
import pytest

import tfhub_transfer
from tests import scripts
from tests.scripts import ROOT

FOLDER = ROOT / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
# Before the tests' own caches take its place: the lessons use the encoders of this machine.
ENCODERS = os.environ.get("TFHUB_CACHE_DIR")
CHATTER = re.compile(r"^[IWEF]\d{4} |^WARNING|retracing|Traceback", re.MULTILINE)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return scripts.script("clear_notebooks")


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request) -> Path:
    return request.param


def code_of(notebook: nbformat.NotebookNode) -> ast.Module:
    """Return all cells as one module, without the lines that go to a shell."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return ast.parse(re.sub(r"^!.*$", "pass", "\n".join(cells), flags=re.MULTILINE))


def test_there_are_seven():
    assert [path.name[:2] for path in LESSONS] == ["01", "02", "03", "04", "05", "06", "07"]


def test_a_lesson_is_kept_as_it_was_written(lesson, script):
    text = lesson.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert script.cleared(text) == text, "run `make clear-notebooks`"
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z-]*", cell.id), f"{cell.id} does not say what the cell does"


def test_what_a_kernel_wrote_is_taken_out(script):
    ran = nbformat.v4.new_code_cell("1 + 1", id="sum", execution_count=7)
    ran.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)]
    ran.metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# x", id="x"), ran])
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    after = script.cleared(nbformat.writes(notebook))
    kept = nbformat.reads(after, as_version=4)
    assert [(cell.id, cell.source) for cell in kept.cells] == [("x", "# x"), ("sum", "1 + 1")]
    assert not kept.cells[1].outputs
    assert kept.cells[1].execution_count is None
    assert not kept.cells[1].metadata
    assert "3.11.7" not in after
    assert script.cleared(after) == after


def test_a_lesson_reads_like_one(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    first, *_, last = notebook.cells
    assert first.source.startswith(f"# {int(lesson.name[:2])}. ")
    assert "**Question:**" in first.source
    assert last.source.startswith("## What next")
    prose = sum(cell.cell_type == "markdown" for cell in notebook.cells)
    assert prose >= len(notebook.cells) / 3
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or cell.source.count("\n") < 35, cell.id
        assert "\u2014" not in cell.source, cell.id


def test_links_between_the_lessons_lead_somewhere(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", readme, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", prose)
    assert links
    for target, anchor in links:
        assert (FOLDER / target).exists(), target
        assert not anchor or anchor in anchors, anchor


def test_only_public_names_are_used(lesson):
    used = set()
    for node in ast.walk(code_of(nbformat.read(lesson, as_version=4))):
        if isinstance(node, ast.Import):
            assert not any(a.name.partition(".")[0] == "tfhub_transfer" for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("tfhub_transfer"):
            assert node.module == "tfhub_transfer", f"from {node.module} is not public"
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), f"{node.attr} is private"
    assert used
    assert used <= set(tfhub_transfer.__all__)


def test_the_table_names_every_lesson():
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\S+\.ipynb)\)", table) == [path.name for path in LESSONS]


@pytest.mark.notebooks
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # Jupyter's own are not ours to mend
def test_it_runs_from_top_to_bottom(lesson, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.delenv("TFHUB_CACHE_DIR")
    if ENCODERS:
        monkeypatch.setenv("TFHUB_CACHE_DIR", ENCODERS)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    notebook = nbformat.read(lesson, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}, "written beside runs/"
    left = [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tmp_path)]
    assert not left, "a process outlived the lesson"
    outputs = [
        (cell.id, output)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    for cell, output in outputs:
        if output.output_type == "stream":
            assert not CHATTER.search(output.text), f"{cell} prints {output.text}"
    assert any("image/png" in output.get("data", {}) for _, output in outputs), "no picture"
