"""What a protocol's YAML may say, and the cells it comes to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import tfhub_transfer
from tfhub_transfer import cli, evaluate
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.protocols.protocol_file import read_protocol

CONTENT: dict[str, Any] = {
    "data": ["sample", {"name": "shop", "data.source": "shop.csv", "data.label_column": "stars"}],
    "encoders": ["minilm-static"],
    "strategies": [
        {"name": "probe", "training.strategy": "feature_extraction"},
        {
            "name": "tuned",
            "training.strategy": "fine_tuning",
            "training.epochs": 3,
            "training.learning_rate": "1e-2",
            "head.hidden": [8, 4],
        },
    ],
    "shots": [8, "all"],
    "seeds": [0, 1],
    "baselines": ["majority", "linear_probe"],
    "compare": "majority",
    "settings": {"head.dropout": 0.1, "training.epochs": 9, "training.weight_decay": 0.5},
}


@pytest.fixture
def written(tmp_path):
    def write(**changes: Any) -> Path:
        file = tmp_path / "some.yaml"
        content = {key: value for key, value in {**CONTENT, **changes}.items() if value != "none"}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    return write


def test_every_combination_is_a_cell(written):
    cells = read_protocol(written()).cells()
    assert len(cells) == 2 * 2 * 2 * (2 + 2)
    assert len({cell.path for cell in cells}) == len(cells)
    assert [str(cell.path) for cell in cells[:4]] == [
        "sample/8-shots/no-encoder/majority/seed-0",
        "sample/8-shots/minilm-static/linear_probe/seed-0",
        "sample/8-shots/minilm-static/probe/seed-0",
        "sample/8-shots/minilm-static/tuned/seed-0",
    ]
    assert {cell.seed for cell in cells[: len(cells) // 2]} == {0}


def test_a_cell_is_configured_by_its_entries_and_the_nearer_one_wins(written):
    cells = {str(cell.path): cell.config for cell in read_protocol(written()).cells()}
    tuned = cells["shop/8-shots/minilm-static/tuned/seed-1"]
    assert tuned.data.source == "shop.csv"
    assert tuned.data.label_column == "stars"
    assert tuned.data.shots == 8
    assert tuned.seed == 1
    assert tuned.training.strategy == "fine_tuning"
    assert tuned.training.epochs == 3
    assert tuned.training.learning_rate == 0.01
    assert tuned.head.hidden == (8, 4)
    assert tuned.head.dropout == 0.1
    assert tuned.evaluation.baselines == ()
    assert cells["sample/all/minilm-static/probe/seed-0"].training.epochs == 9
    assert cells["sample/all/minilm-static/probe/seed-0"].data.shots is None


def test_a_baseline_depends_on_its_data_alone(written):
    cells = {str(cell.path): cell for cell in read_protocol(written()).cells()}
    probe = cells["sample/8-shots/minilm-static/linear_probe/seed-1"]
    assert probe.is_baseline
    assert probe.config.evaluation.baselines == ("linear_probe",)
    assert probe.config.training.weight_decay == 0.0


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ("majority", {"no-encoder": (None, "majority"), "a": (None, "majority")}),
        ("probe", {"no-encoder": None, "a": ("a", "probe"), "b": ("b", "probe")}),
        ("a/probe", {"no-encoder": ("a", "probe"), "b": ("a", "probe")}),
        ("none", {"no-encoder": None, "a": None}),
    ],
)
def test_what_a_row_is_compared_with(written, compare, expected):
    encoders = [{"name": name, "encoder.name": "minilm-static"} for name in "ab"]
    protocol = read_protocol(written(encoders=encoders, compare=compare))
    found = {cell.encoder or "no-encoder": protocol.reference(cell) for cell in protocol.cells()}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": [0]}, r"some\.yaml: Unknown key\. Did you mean 'seeds'\? .*: 'seed'"),
        ({"data": "none"}, "data must be given"),
        ({"data": []}, "data must list at least one"),
        ({"data": "sample"}, "data must be a list. Received: 'sample'"),
        ({"data": ["a/b.csv"]}, "a `name` that a folder may have.*a/b.csv"),
        ({"data": ["sample", "sample"]}, "data must differ"),
        ({"encoders": [{"encoder.name": "x"}]}, "encoders: an entry is a name"),
        (
            {"strategies": [{"name": "x", "training.epoch": 3}]},
            "strategies, 'x': unknown setting. Did you mean 'training.epochs'",
        ),
        (
            {"strategies": [{"name": "x", "training.epochs": "three"}]},
            'strategies, \'x\': .*"training.epochs".*int.*three',
        ),
        (
            {"strategies": [{"name": "x", "training.strategy": "fine_tunning"}]},
            "In the cell of sample, minilm-static, x: .*Did you mean 'fine_tuning'",
        ),
        (
            {"strategies": [{"name": "x", "training.epochs": 0}]},
            "In the cell of sample, minilm-static, x: training.epochs must be at least 1",
        ),
        ({"strategies": [{"name": "majority"}]}, "strategies and baselines must differ"),
        ({"settings": {"seed": 3}}, "settings: seed is decided by the protocol's seeds"),
        ({"settings": {"data.shots": 3}}, "settings: data.shots is decided by .* shots"),
        ({"shots": [0]}, "shots must be numbers of at least 1, or all. Received: 0"),
        ({"seeds": [True]}, "seeds must be whole numbers"),
        ({"baselines": ["tfidf_logre"]}, "Did you mean 'tfidf_logreg'"),
        ({"compare": "prob"}, "compare must name a row .* Did you mean 'probe'"),
    ],
)
def test_what_is_refused(written, changes, text):
    with pytest.raises(ConfigError, match=text):
        read_protocol(written(**changes)).cells()


def test_the_example_is_a_protocol():
    example = Path(tfhub_transfer.__file__).parents[1] / "examples" / "few_examples.yaml"
    assert len(read_protocol(example).cells()) == 4 * 3 * (3 + 2)


@pytest.mark.parametrize("text", ["data: [", "- a list", ""])
def test_no_protocol_at_all(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        read_protocol(file)


def test_the_cells_are_listed(written, tmp_path, capsys):
    flags = ["--protocol", str(written()), "--dry-run", "--output", str(tmp_path / "out")]
    assert evaluate.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "missing", str(tmp_path / "out/sample/8-shots/no-encoder/majority/seed-0"),
    ]  # fmt: skip
    assert lines[-1] == "32 cells: 16 runs and 16 baselines; 0 are finished, 0 begun"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "Give one of --run.*Received: none"),
        (["--run", "a", "--protocol", "b"], "Received: --run and --protocol"),
        (["--protocol", "b", "--seeds", "4"], "--seeds goes with --ablate"),
        (["--run", "a", "--dry-run"], "--dry_run goes with --protocol or --ablate"),
        (["--ablate", "a", "--data.source", "b"], "--data goes with --run"),
        (["--protocol", "none.yaml"], "none.yaml"),
    ],
)
def test_flags_that_do_not_go_together(capsys, flags, text):
    assert cli.guarded(lambda: evaluate.main(flags)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(text, error)
