"""A search on more than one machine, with real trials."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import trained
from tests.processes import wait_for
from tfhub_transfer import cli, tune
from tfhub_transfer.errors import ConfigError, RunError
from tfhub_transfer.evaluation.search import distributed
from tfhub_transfer.evaluation.search.directory import begin_search
from tfhub_transfer.evaluation.search.distributed import lead, work
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.running import search
from tfhub_transfer.evaluation.search.trial import TrialRunner
from tfhub_transfer.runs import Run, as_yaml, installed_versions
from tfhub_transfer.training.search import Drawn
from tfhub_transfer.training.search_oracles import Budget
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig

pytestmark = pytest.mark.slow

TRIALS = 8
DEADLINE = 240.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def config_of(run: Path, **changes: Any) -> TuneConfig:
    training = {"epochs": 8, "patience": 8}
    data = {"limit": 60, **changes.pop("data", {})}
    plain = trained.settings(run, "sample", data=data, head={"hidden": ()}, training=training)
    values = {item.name: getattr(plain, item.name) for item in dataclasses.fields(plain)}
    space = {"head.dropout": {"min": 0.0, "max": 0.5}, "head.hidden": [[8]]}
    searched = SearchConfig(tuner="random", trials=TRIALS, seeds=1, compare=False, space=space)
    port = changes.pop("port", None) or free_port()
    return TuneConfig(**values, search=searched, oracle=f"127.0.0.1:{port}", **changes)


def begin(config: TuneConfig, file: Path, log: Path, part: str) -> subprocess.Popen[bytes]:
    """Begin the command, as a user would on each machine."""
    plain = {**config.settings(), "run": config.run}
    file.write_text(as_yaml(plain), encoding="utf-8")
    flags = ["--config", str(file), "--distributed", part, "--oracle", str(config.oracle)]
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tfhub_transfer.tune", *flags, "--wait", "4m", "--lease", "15s"],
            stdout=output,
            stderr=output,
        )


def at_a_trial(run: Path) -> dict[str, str]:
    """Return the trials that are being run, by the short name of the worker."""
    file = run / "search" / "trials" / "oracle.json"
    state = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {
        name.rpartition("-")[2]: number
        for name, number in state.get("ongoing_trials", {}).items()
    }


@pytest.mark.timeout(600)  # three processes start, and the machine may be busy
def test_a_worker_is_killed_in_the_middle_of_a_trial(tmp_path):
    config = config_of(tmp_path / "run", distributed="chief")
    file = tmp_path / "search.yaml"
    logs = {name: tmp_path / f"{name}.log" for name in ("chief", "victim", "other")}
    folder = tmp_path / "run" / "search" / "trials"
    with contextlib.ExitStack() as ends:
        processes = {}
        for name, log in logs.items():
            processes[name] = begin(config, file, log, "chief" if name == "chief" else "worker")
            ends.callback(processes[name].wait)
            ends.callback(processes[name].kill)
        victim = processes["victim"]
        pattern = re.compile(r"^worker (\w{8}) of the chief", re.MULTILINE)
        until = functools.partial(wait_for, seconds=DEADLINE)
        name = until(lambda: pattern.search(logs["victim"].read_text()), *processes.values())[1]
        while True:
            # held, so that it is at the same trial when it is killed
            until(lambda: at_a_trial(config.directory).get(name), *processes.values())
            victim.send_signal(signal.SIGSTOP)
            lost = at_a_trial(config.directory).get(name)
            if lost and not (folder / f"trial_{lost}" / "result.json").exists():
                break
            victim.send_signal(signal.SIGCONT)
        finished = {
            path: path.stat().st_mtime_ns for path in folder.glob("trial_*/result.json")
        }
        victim.send_signal(signal.SIGKILL)
        assert processes["other"].wait(DEADLINE) == 0
        assert processes["chief"].wait(DEADLINE) == 0
    assert victim.returncode == -signal.SIGKILL
    run = Run(config.directory)
    with (run.path / "search" / "trials.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["trial"] for row in rows] == [str(number) for number in range(TRIALS)]
    assert {row["status"] for row in rows} == {"finished"}
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    told = logs["chief"].read_text()
    assert f"worker {name} was not heard of for 15 s: lost; 1 worker" in told
    assert "joined; 2 workers" in told
    assert f"trial {lost}: log_loss" in logs["other"].read_text()
    assert "the search is over: " in logs["other"].read_text()
    metrics = run.load_metrics()
    assert metrics["finished"]
    assert metrics["search"]["trials"] == metrics["search"]["finished"] == TRIALS
    best = min(rows, key=lambda row: float(row["log_loss"]))
    assert metrics["search"]["best_trial"] == best["trial"]
    assert metrics["search"]["best_score"] == float(best["log_loss"])
    assert (run.path / "search" / "report.html").exists()
    assert run.model_file.exists()
    assert not (run.path / "search" / "chief.json").exists()
    assert not list(folder.rglob("*.safetensors"))


@pytest.fixture
def joined(tmp_path, monkeypatch) -> TuneConfig:
    """A chief's directory, and a worker that has found its chief."""
    monkeypatch.setattr(distributed, "connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(distributed, "digest_of", lambda data: "rows")
    monkeypatch.setattr("tfhub_transfer.training.search_worker._FILE_SECONDS", 0.0)
    config = config_of(tmp_path, distributed="worker")
    home = Run(tmp_path / "search")
    home.path.mkdir()
    begin_search(config, Run(tmp_path), home, "rows")
    versions = installed_versions(distributed._PACKAGES)
    home.write_json("chief.json", {"token": "abcd1234", "lease": 60.0, "versions": versions})
    return config


def test_a_worker_with_other_rows_is_refused(joined, monkeypatch):
    monkeypatch.setattr(TrialRunner, "prepare", lambda self: None)
    monkeypatch.setattr(distributed, "digest_of", lambda data: "other rows")
    with pytest.raises(RunError, match="The rows are not those that this search was begun with"):
        work(joined)


def test_a_worker_with_other_settings_is_refused(joined):
    head = dataclasses.replace(joined.head, l2=0.5)
    with pytest.raises(RunError, match=r"settings of its chief.*head\.l2 was 0\.0, received 0\.5"):
        work(dataclasses.replace(joined, head=head))


def test_a_worker_of_another_version_is_refused(joined, monkeypatch):
    monkeypatch.setattr(distributed, "installed_versions", lambda _: {"keras-tuner": "0.9"})
    with pytest.raises(RunError, match=r"same versions.*chief's.*1\.4.*Received: .*0\.9"):
        work(joined)


def test_a_worker_elsewhere_is_refused(joined, tmp_path):
    (tmp_path / "search" / "chief.json").unlink()
    with pytest.raises(RunError, match=r"share it\. Received: no .*chief\.json"):
        work(joined)


def test_a_worker_s_search_is_its_chief_s(joined):
    with pytest.raises(ConfigError, match=r"distributed\.work.*Received: 'worker'"):
        search(joined)


def test_a_chief_that_is_begun_again_is_that_of_the_same_search(tmp_path, monkeypatch):
    tokens: list[str] = []

    class Interrupted:
        def __init__(self, tuner: Any, *, token: str, **_: Any):
            tokens.append(token)

        def lead(self, address: Any) -> None:
            if len(tokens) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(distributed, "Chief", Interrupted)
    config, home = config_of(tmp_path, distributed="chief"), Run(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        lead(config, None, home, print)
    assert json.loads((tmp_path / "chief.json").read_text())["lease"] == 60
    lead(config, None, home, print)
    assert not (tmp_path / "chief.json").exists()
    lead(config, None, home, print)
    assert tokens[0] == tokens[1] != tokens[2]


def test_what_another_worker_has_trained_is_not_repeated(joined, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "search" / "trials"
    seconds = {"encode": 0.0, "train": 1.0, "total": 1.0}
    other = TrialResult({}, {"log_loss": 0.5, "accuracy": 0.7}, 3, seconds=seconds)
    for number in ("0", "1"):
        (folder / f"trial_{number}").mkdir(parents=True)
    other.save(folder / "trial_0")
    monkeypatch.setattr(TrialRunner, "prepare", lambda self: None)

    class Worker:
        name = "x"

        def __init__(self, oracle: Any, space: Any, run: Any, folder: Path, **_: Any):
            self.run, self.folder = run, folder

        def search(self) -> None:
            self.run(Drawn("1", self.folder / "trial_1", {"head.hidden": []}), 1e6)

    monkeypatch.setattr(distributed, "SearchWorker", Worker)
    assert work(joined) == 1
    result = TrialResult.load(folder / "trial_1")
    assert result.repeats == "0"
    assert result.scores == other.scores
    assert "trial 1: log_loss 0.5000, accuracy 0.7000, as trial 0" in capsys.readouterr().err


def test_a_worker_whose_chief_is_gone_can_tell_whether_the_search_is_over(
    joined, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(TrialRunner, "prepare", lambda self: None)
    told = []

    class Worker:
        name = "x"

        def __init__(self, *_: Any, over: Callable[[], bool], **__: Any):
            self.over = over

        def search(self) -> None:
            told.append(self.over())
            (tmp_path / "search" / "chief.json").unlink()
            told.append(self.over())

    monkeypatch.setattr(distributed, "SearchWorker", Worker)
    assert work(joined) == 0
    assert told == [False, True]
    assert "the search is over: 0 trials were run here" in capsys.readouterr().err


def test_the_result_of_the_worker_that_was_faster_stays(joined, tmp_path, monkeypatch):
    runner, folder = TrialRunner(joined.space(), Budget(None)), tmp_path / "trial_1"
    faster = TrialResult({}, {"log_loss": 0.5, "accuracy": 0.7}, 3, seconds={"total": 1.0})

    def slower(*_: Any) -> TrialResult:
        folder.mkdir()
        faster.save(folder)
        raise FileNotFoundError("the checkpoints that the other has deleted")

    monkeypatch.setattr(runner, "_train", slower)
    assert runner(Drawn("1", folder, {})) == faster.scores
    assert TrialResult.load(folder) == faster


@pytest.mark.parametrize("part", ["chief", "worker"])
def test_an_address_that_cannot_be_is_told_before_anything_is_loaded(
    part, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(cli, "import_tensorflow", lambda: pytest.fail("TensorFlow was loaded"))
    flags = ["--run", str(tmp_path / "run"), "--distributed", part]
    assert cli.guarded(lambda: tune.main([*flags, "--oracle", "no.such.host:9000"])) == 2
    assert "The host of --oracle is unknown" in capsys.readouterr().err
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        if part == "chief":
            assert cli.guarded(lambda: tune.main([*flags, "--oracle", taken])) == 2
            assert f"another process listens there. Accepted: a name or address of this machine " \
                f"and a free port. Received: {taken}" in capsys.readouterr().err  # fmt: skip
    assert not (tmp_path / "run").exists()
