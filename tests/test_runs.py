"""The run directory: layout, lock, atomic writes, resume."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import stat

import pytest

from tfhub_transfer import cli
from tfhub_transfer.config import (
    Config,
    DataConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
    WeightGroup,
)
from tfhub_transfer.errors import RunError
from tfhub_transfer.runs import Run, atomic_path, config_from_dict


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "a.csv.gz"
    with atomic_path(target) as temporary:
        temporary.write_text("one")
        assert temporary.name.endswith(".csv.gz")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "one"
    assert os.listdir(target.parent) == ["a.csv.gz"]


@pytest.mark.parametrize("error", [ValueError("half"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_a_plain_open(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.touch()
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027, "the process's mask is put back"
    finally:
        os.umask(before)


def begun(tmp_path, **settings) -> tuple[Run, Config]:
    config = Config(run=str(tmp_path / "run"), **settings)
    run = Run.create(config)
    run.write_config(config)
    return run, config


def test_a_new_directory_is_made_with_its_parents(tmp_path):
    run = Run.create(Config(run=str(tmp_path / "a" / "b")))
    assert run.path.is_dir()
    assert run.metrics_file == tmp_path / "a" / "b" / "metrics.json"


def test_without_a_name_the_time_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Run.create(Config()).path
    assert path.parent.name == "runs"
    assert path.is_dir()


def test_what_is_there_is_not_touched(tmp_path):
    run, config = begun(tmp_path)
    run.checkpoints.mkdir()
    with pytest.raises(RunError, match=r"not empty\. Give another --run, or --resume .*--ove"):
        Run.create(config)


def test_a_command_that_failed_before_it_trained_takes_no_place(tmp_path):
    run, config = begun(tmp_path)
    run.write_environment(config.seed)
    run.rejected_file.write_text("{}")
    assert Run.create(config).path == run.path


def test_a_config_file_of_somebodys_own_is_not_replaced(tmp_path):
    own = tmp_path / "run" / "config.yaml"
    own.parent.mkdir()
    own.write_text("seed: 7")
    with pytest.raises(RunError, match="not empty"):
        Run.create(Config(run=str(own.parent)))
    assert own.read_text() == "seed: 7"


def test_an_empty_directory_will_do_and_so_will_a_left_lock(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    config = Config(run=str(path))
    with Run.create(config).lock():
        pass
    assert Run.create(config).path == path


def test_a_file_is_no_directory(tmp_path):
    file = tmp_path / "run"
    file.write_text("mine")
    with pytest.raises(RunError, match=r"must not be a file\. Received: .*run"):
        Run.create(Config(run=str(file)))
    assert file.read_text() == "mine"


def test_overwrite_empties_a_run(tmp_path):
    run, config = begun(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "last.safetensors").write_text("x")
    run.write_text("report.html", "old")
    again = dataclasses.replace(config, overwrite=True)
    assert Run.create(again).path == run.path
    assert (run.checkpoints / "last.safetensors").exists(), "nothing is lost before it begins"
    assert run.report_file.exists()
    with run.lock():
        run.write_text("rejected.jsonl", "{}")  # by the data, which is loaded before
        run.begin(again)
        names = set(os.listdir(run.path)) - {".lock"}
    assert names == {"config.yaml", "environment.json", "rejected.jsonl"}


def test_what_is_kept_is_named(tmp_path):
    run, _ = begun(tmp_path)
    (run.path / "search").mkdir()
    (run.path / "search" / "search.yaml").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run.path / "link").symlink_to(elsewhere)
    run.empty(keep=("search",))
    assert os.listdir(run.path) == ["search"]
    assert (run.path / "search" / "search.yaml").exists()
    assert elsewhere.exists()
    run.empty()
    assert os.listdir(run.path) == []


def test_overwrite_empties_nothing_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"--overwrite empties only a directory with a run's config"):
        Run.create(Config(run=str(tmp_path), overwrite=True))
    assert (tmp_path / "thesis.tex").exists()


def test_overwrite_of_what_is_not_there_makes_it(tmp_path):
    assert Run.create(Config(run=str(tmp_path / "new"), overwrite=True)).path.is_dir()


def test_resume_takes_the_same_settings(tmp_path):
    run, config = begun(tmp_path, head=HeadConfig(hidden=(3,), l2=1e-7), seed=4)
    (run.path / "kept").touch()
    Run.create(dataclasses.replace(config, resume=True))
    assert (run.path / "kept").exists()


def test_resume_refuses_other_settings(tmp_path):
    _, config = begun(tmp_path)
    changed = dataclasses.replace(
        config, resume=True, seed=1, training=TrainingConfig(epochs=3, batch_size=5)
    )
    with pytest.raises(RunError, match=r"resumed with the settings it was begun with") as caught:
        Run.create(changed)
    defaults = TrainingConfig()
    assert str(caught.value).endswith(
        f"seed was 0, received 1; training.batch_size was {defaults.batch_size}, received 5; "
        f"training.epochs was {defaults.epochs}, received 3"
    )


def test_resume_of_nothing(tmp_path):
    with pytest.raises(RunError, match=r"Nothing to resume: no config\.yaml"):
        Run.create(Config(run=str(tmp_path / "none"), resume=True))
    assert not (tmp_path / "none").exists()


def test_open_takes_only_a_run(tmp_path):
    run, _ = begun(tmp_path)
    assert Run.open(str(run.path)).path == run.path
    with pytest.raises(RunError, match=r"Not a run directory: .*config\.yaml.*Received: .*tmp"):
        Run.open(tmp_path)


def test_metrics_are_those_of_a_finished_run(tmp_path):
    run, _ = begun(tmp_path)
    with pytest.raises(RunError, match=rf"not finished: .*--run {run.path} --resume`"):
        run.load_metrics()
    run.write_json("metrics.json", {"a": 1})
    assert run.load_metrics() == {"a": 1}


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(
            run="ä: 'x'",
            seed=7,
            data=DataConfig(source="-1", label_separator="|", limit=3, balance="oversample"),
            head=HeadConfig(hidden=(), l2=1e-7),
            training=TrainingConfig(
                strategy="fine_tuning",
                encoder_learning_rate=2e-5,
                trainable=r"layer_\d: [x]",
                groups=(WeightGroup("a: b", 0.5), WeightGroup("c")),
            ),
            evaluation=EvaluationConfig(baselines=()),
        ),
        Config(head=HeadConfig((4, 2)), evaluation=EvaluationConfig(baselines=("majority",))),
    ],
)
def test_the_config_comes_back_from_yaml(tmp_path, config):
    run = Run(tmp_path)
    run.write_config(config)
    assert config_from_dict(run.load_config()) == config
    assert cli.parse("train", "", Config, ["--config", str(run.config_file)]) == config


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_the_stored_config_begins_anew(tmp_path, flag):
    # else `--config config.yaml --run OTHER` would resume, or empty, what is in OTHER
    config = Config(run=str(tmp_path / "run"), **{flag: True})
    run = Run(tmp_path)
    run.write_config(config)
    stored = config_from_dict(run.load_config())
    assert stored == dataclasses.replace(config, **{flag: False})


def test_settings_that_are_missing_take_their_default():
    assert config_from_dict({"seed": 3, "head": {"hidden": [5]}}) == Config(
        seed=3, head=HeadConfig(hidden=(5,))
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a: [1", r"no YAML.*config\.yaml"),
        (b"\xff\xfe\xff", r"no YAML.*config\.yaml"),
        (b"", r"settings by name\. Received: None in .*config\.yaml"),
    ],
)
def test_a_damaged_config(tmp_path, content, text):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=f"(?s){text}"):
        Run.open(tmp_path).load_config()


def test_settings_of_another_version_are_named(tmp_path):
    with pytest.raises(RunError, match=r"no setting head\.width.*another version"):
        config_from_dict({"head": {"width": 3}})
    with pytest.raises(RunError, match=r"no setting tail.*another version"):
        config_from_dict({"tail": {"width": 3}})


def test_one_process_at_a_time(tmp_path):
    run, _ = begun(tmp_path)
    with run.lock():
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            said = pool.apply(try_to_lock, [run.path])
        assert said.startswith("Another process is working in this run directory. Wait for it or")
        assert said.endswith(f"Received: {run.path}")
    with run.lock():
        pass


def try_to_lock(path) -> str:
    try:
        with Run(path).lock():
            return "taken"
    except RunError as error:
        return str(error)


def test_json_keeps_lists_of_numbers_on_a_line(tmp_path):
    run = Run(tmp_path)
    value = {"matrix": [[1, 2], [3, -4]], "ä": [0.5, 1e-9], "text": "[1,\n2]", "names": ["a", "b"]}
    run.write_json("a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "[1, 2]" in text.replace("[ ", "[").replace(" ]", "]")
    assert '"ä"' in text


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Run(tmp_path).write_json("a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_the_environment_is_written_down(tmp_path):
    run = Run(tmp_path)
    run.write_environment(11)
    written = json.loads((tmp_path / "environment.json").read_text())
    assert written["seed"] == 11
    assert {"tensorflow", "keras", "numpy"} <= written["packages"].keys()
    assert written["cpus"] >= 1
    assert written["python"]


@pytest.mark.parametrize("content", ['{"labels"', "[]", "5"])
def test_damaged_metrics(tmp_path, content):
    run = Run(tmp_path)
    run.write_text("metrics.json", content)
    with pytest.raises(RunError, match=r"The run's metrics .*Received: .*metrics\.json"):
        run.load_metrics()
