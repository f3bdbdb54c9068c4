"""`python -m tfhub_transfer.pretrain`: flags, what is refused, and the run directory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from tfhub_transfer import cli, pretrain
from tfhub_transfer.errors import (
    ConfigError,
    DataError,
    EncoderError,
    RunError,
    TrainingError,
)
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.run_directory import PretrainingRun
from tfhub_transfer.pretraining.settings import memory_bytes
from tfhub_transfer.pretraining.swivel.settings import SwivelConfig
from tfhub_transfer.registry import PRETRAINERS


@pytest.fixture
def corpus(tmp_path) -> str:
    file = tmp_path / "corpus.txt"
    file.write_text("a film\na good film\n", encoding="utf-8")
    return str(file)


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, object]]:
    """What trainers are called with, which write no more than a run directory."""
    calls: list[tuple[str, object]] = []

    def load(kind: str):
        def train(config) -> Path:
            calls.append((kind, config))
            with PretrainingRun.begun(config) as run:
                return run.path

        return train

    monkeypatch.setattr(PRETRAINERS, "load", load)
    return calls


def command(*arguments: object) -> int:
    return cli.guarded(lambda: pretrain.main([str(argument) for argument in arguments]))


def test_flags_reach_the_trainer_of_the_kind(tmp_path, corpus, trained, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--corpus", f"no.txt,{corpus},tfds:wiki:train[:10%]", "--data.text_column", "body"]
    assert command("swivel", *flags, "--oov-buckets", 7, "--memory", "500M", "--keep_work") == 2
    assert "Received: 'no.txt'" in capsys.readouterr().err
    ((kind, config),) = trained
    assert kind == "swivel"
    assert isinstance(config, SwivelConfig)
    assert config.corpus == ("no.txt", corpus, "tfds:wiki:train[:10%]")
    assert (config.oov_buckets, config.memory_bytes, config.keep_work) == (7, 500 << 20, True)
    assert config.data.text_column == "body"
    assert command("nnlm", "--corpus", corpus, "--run", tmp_path / "a b") == 0
    kind, config = trained[-1]
    assert (kind, config) == ("nnlm", NnlmConfig(corpus=(corpus,), run=str(tmp_path / "a b")))
    told = capsys.readouterr().out
    assert f"train --encoder.name '{tmp_path / 'a b' / 'module'}' --data.source SOURCE" in told
    assert f"encoders info '{tmp_path / 'a b' / 'module'}' --neighbours WORD" in told


def test_an_interruption_says_how_to_go_on(tmp_path, corpus, capsys, monkeypatch):
    def interrupted(config) -> Path:
        with PretrainingRun.begun(config):
            raise KeyboardInterrupt

    monkeypatch.setattr(PRETRAINERS, "load", lambda kind: interrupted)
    assert command("nnlm", "--corpus", corpus, "--run", tmp_path / "run") == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert command("nnlm", "--corpus", "no.txt", "--run", tmp_path / "other") == 2


def test_a_file_of_settings(tmp_path, corpus, trained):
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"corpus": [corpus], "dimensions": 20, "seed": 3}))
    run = tmp_path / "run"
    assert command("swivel", "--config", file, "--run", run, "--dimensions", 30) == 0
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert (kept["corpus"], kept["dimensions"], kept["seed"]) == ([corpus], 30, 3)
    assert command("swivel", "--config", run / "config.yaml", "--run", tmp_path / "again") == 0
    assert trained[0][1].to_dict() == {**trained[1][1].to_dict(), "run": str(run)}


def test_mlm_continues_from_an_encoder(tmp_path, corpus, trained):
    flags = ["--corpus", corpus, "--run", tmp_path / "run"]
    assert command("mlm", *flags, "--from", "minilm-l6") == 0
    assert trained[0][1].continue_from == "minilm-l6"


def test_each_kind_has_settings_and_a_trainer():
    assert list(pretrain.SETTINGS) == list(PRETRAINERS)
    assert {kind: callable(PRETRAINERS.load(kind)) for kind in PRETRAINERS} == dict.fromkeys(
        pretrain.SETTINGS, True
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_kinds_are_listed(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        pretrain.main(arguments)
    assert end.value.code == (0 if arguments else 2)
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m tfhub_transfer.pretrain {swivel,nnlm,mlm}")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["swivle"], "Unknown pre-training. Did you mean 'swivel'? Accepted: swivel, nnlm, mlm."),
        (["swivel"], "A pre-training needs text: add --corpus FILE.txt, "),
        (["swivel", "--corpus", "a.txt", "--memory", "2X"], "such as 500M or 2G, and at least 64M. "
         "Received: '2X'"),
        (["swivel", "--corpus", "a.txt", "--memory", "1M"], "Received: '1M'"),
        (["nnlm", "--corpus", "no-such.txt"], "No such file or folder. Accepted: a file ending in"),
        (["nnlm", "--corpus", "a.txt", "--resume"], "--resume needs the run directory"),
        (["nnlm", "--corpus", "a.txt", "--resume", "--overwrite"], "give one."),
        (["nnlm", "--corpus", "a.txt", "--oov_buckets", "0"], "oov_buckets must be at least 1"),
        (["mlm", "--corpus", "a.txt", "--vocabulary", "5"], "vocabulary must be at least 16"),
        (["mlm", "--corpus", "a.txt", "--positions", "2"], "positions must be at least 8"),
        (["swivel", "--corpus", "a #1.txt"], "Received: 'a #1.txt'"),
        (["swivel", "--corpus", "a: b.txt"], "Received: 'a: b.txt'"),
        (["swivel", "--corpus", "tfds:imdb_reviews"], "Accepted: tfds:NAME:SPLIT, "),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, told, trained, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert told in printed.err
    assert "Traceback" not in printed.err
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {".lock"}, "it takes no place"


@pytest.mark.parametrize(
    ("text", "size"), [("64M", 64 << 20), ("2G", 2 << 30), ("1.5G", 3 << 29), ("1T", 1 << 40)]
)
def test_memory_is_a_number_with_a_unit(text, size):
    assert memory_bytes(text) == size


@pytest.mark.parametrize("text", ["", "2", "2g", "G", "-2G", "2GB", "nan G", "²G", "0.01G"])
def test_memory_that_is_none(text):
    with pytest.raises(ConfigError, match="memory must be a number and a unit"):
        memory_bytes(text)


class TestTheRunDirectory:
    def test_what_is_left_at_the_end(self, tmp_path, corpus):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run:
            assert not run.finished
            (run.work / "shards").mkdir()
            with run.writing_module() as folder:
                (folder / "saved_model.pb").write_bytes(b"module")
            run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
            run.finish({"tokens": 5}, keep_work=False)
        assert {entry.name for entry in run.path.iterdir()} == {
            ".lock", "checkpoints", "config.yaml", "environment.json", "history.csv",
            "metrics.json", "module",
        }  # fmt: skip
        assert json.loads(run.metrics_file.read_text()) == {"tokens": 5}
        assert run.history_file.read_text() == "epoch,loss\n1,0.5\n2,0.25\n"
        with PretrainingRun.begun(
            SwivelConfig(corpus=(corpus,), run=str(run.path), resume=True)
        ) as again:
            assert again.finished
        assert (run.module / "saved_model.pb").read_bytes() == b"module"

    def test_a_module_that_fails_leaves_the_one_before(self, tmp_path, corpus):
        with PretrainingRun.begun(SwivelConfig(corpus=(corpus,), run=str(tmp_path / "r"))) as run:
            with run.writing_module() as folder:
                (folder / "first").touch()
            with pytest.raises(KeyboardInterrupt), run.writing_module() as folder:
                (folder / "second").touch()
                raise KeyboardInterrupt
            assert [entry.name for entry in run.module.iterdir()] == ["first"]
            assert not list(run.path.glob(".writing-*"))

    @pytest.mark.parametrize("error", [DataError, ConfigError])
    def test_what_cannot_work_takes_no_place(self, tmp_path, corpus, error):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        for _ in range(2):
            with pytest.raises(error, match="no words"), PretrainingRun.begun(config) as run:
                (run.work / "ids").touch()
                raise error("no words")
            assert not run.work.exists()

    def test_but_a_checkpoint_does(self, tmp_path, corpus):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with pytest.raises(DataError), PretrainingRun.begun(config) as run:
            (run.checkpoints / "1").touch()
            raise DataError("the file was taken away")
        with pytest.raises(RunError, match="is not empty.*--resume"), PretrainingRun.begun(config):
            pass

    def test_other_settings_do_not_resume_it(self, tmp_path, corpus):
        path = str(tmp_path / "run")
        with PretrainingRun.begun(SwivelConfig(corpus=(corpus,), run=path)):
            pass
        other = SwivelConfig(corpus=(corpus,), run=path, resume=True, dimensions=7)
        with (
            pytest.raises(RunError, match="dimensions was 128, received 7"),
            PretrainingRun.begun(other),
        ):
            pass

    def test_overwriting_waits_for_the_corpus(self, tmp_path, corpus):
        path = tmp_path / "run"
        config = SwivelConfig(corpus=(corpus,), run=str(path))
        with PretrainingRun.begun(config) as run, run.writing_module() as folder:
            (folder / "mine").touch()
        wrong = SwivelConfig(corpus=(f"{corpus}x",), run=str(path), overwrite=True)
        with pytest.raises(DataError, match="No such file"), PretrainingRun.begun(wrong):
            pass
        assert (run.module / "mine").exists()
        right = SwivelConfig(corpus=(corpus,), run=str(path), overwrite=True)
        with PretrainingRun.begun(right):
            assert not run.module.exists()

    def test_a_corpus_in_what_is_overwritten(self, tmp_path, corpus):
        path = tmp_path / "run"
        with PretrainingRun.begun(SwivelConfig(corpus=(corpus,), run=str(path))):
            (path / "own").mkdir()
            (path / "own" / "texts.txt").write_text("a film\n", encoding="utf-8")
        inside = SwivelConfig(corpus=(f"{path}/own",), run=str(path), overwrite=True)
        told = rf"lies in the run directory.*Received: {path}/own/texts\.txt"
        with pytest.raises(RunError, match=told), PretrainingRun.begun(inside):
            pass
        assert (path / "own" / "texts.txt").exists()

    def test_what_is_overwritten_comes_back_where_the_new_run_cannot_work(self, tmp_path, corpus):
        path = tmp_path / "run"
        with PretrainingRun.begun(SwivelConfig(corpus=(corpus,), run=str(path))) as run:
            run.write_json("metrics.json", {"first": True})
        again = SwivelConfig(corpus=(corpus,), run=str(path), overwrite=True, seed=1)
        with pytest.raises(EncoderError), PretrainingRun.begun(again) as run:
            assert not run.finished
            (run.work / "counts").touch()
            raise EncoderError("no transformer")
        assert run.load_metrics() == {"first": True}
        assert run.load_config()["seed"] == 0
        assert not (run.work / "counts").exists()
        with pytest.raises(TrainingError), PretrainingRun.begun(again) as run:
            (run.checkpoints / "last").touch()
            raise TrainingError("no number")
        with PretrainingRun.begun(dataclasses.replace(again, overwrite=False, resume=True)) as run:
            assert not run.finished
        assert {entry.name for entry in path.iterdir()} == {
            ".lock", "config.yaml", "environment.json", "work", "checkpoints",
        }  # fmt: skip

    def test_a_run_that_cannot_work_takes_no_place(self, tmp_path, corpus):
        path = tmp_path / "run"
        config = SwivelConfig(corpus=(corpus,), run=str(path))
        with pytest.raises(EncoderError), PretrainingRun.begun(config):
            raise EncoderError("no transformer")
        with PretrainingRun.begun(dataclasses.replace(config, seed=1)) as run:
            assert run.load_config()["seed"] == 1

    def test_a_finished_run_stays_as_it_is(self, tmp_path, corpus, capsys):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run:
            run.finish({}, keep_work=False)
        before = {entry.name for entry in run.path.iterdir()}
        with PretrainingRun.begun(dataclasses.replace(config, resume=True)) as run:
            assert run.finished
        assert {entry.name for entry in run.path.iterdir()} == before
        assert "is finished already" in capsys.readouterr().out

    def test_what_a_kill_left_half_written_is_deleted(self, tmp_path, corpus):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run:
            (run.path / ".writing-x" / "module").mkdir(parents=True)
            (run.work / "shards").mkdir()
            for folder in (run.path, run.checkpoints, run.work, run.work / "shards"):
                (folder / ".writing-y.csv").touch()
        with PretrainingRun.begun(dataclasses.replace(config, resume=True)):
            assert not [entry for entry in run.path.rglob("*") if "writing" in entry.name]

    def test_what_a_kill_left_of_a_whole_run_is_deleted(self, tmp_path, corpus):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run:
            run.write_json("metrics.json", {})
            (run.path / ".before" / "module").mkdir(parents=True)
        (run.path / ".before").mkdir(exist_ok=True)
        with PretrainingRun.begun(dataclasses.replace(config, resume=True)) as run:
            assert run.finished
        assert not run.work.exists() and not (run.path / ".before").exists()

    @pytest.mark.parametrize("moved", [1, 2, 99])
    def test_a_kill_while_a_run_is_set_aside(self, tmp_path, corpus, monkeypatch, moved):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run:
            (run.module / "assets").mkdir(parents=True)
            run.finish({"first": True}, keep_work=True)
        rename, done = Path.rename, []

        def killed(path, target):
            if len(done) == moved:
                raise KeyboardInterrupt
            done.append(path)
            return rename(path, target)

        def begins(*arguments):
            raise KeyboardInterrupt

        overwriting = dataclasses.replace(config, overwrite=True, seed=1)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            patch.setattr(PretrainingRun, "write_config", begins)
            with pytest.raises(KeyboardInterrupt), PretrainingRun.begun(overwriting):
                pass
        assert not run.config_file.exists()
        with pytest.raises(RunError, match="is not empty"), PretrainingRun.begun(config):
            pass
        assert run.load_metrics() == {"first": True}
        assert (run.module / "assets").exists() and not (run.path / ".before").exists()
        with PretrainingRun.begun(overwriting) as run:
            assert not run.module.exists()

    def test_one_process_at_a_time(self, tmp_path, corpus):
        config = SwivelConfig(corpus=(corpus,), run=str(tmp_path / "run"))
        with PretrainingRun.begun(config) as run, run.writing_module():
            again = SwivelConfig(corpus=(corpus,), run=config.run, resume=True)
            with pytest.raises(RunError, match="Another process"), PretrainingRun.begun(again):
                pass
