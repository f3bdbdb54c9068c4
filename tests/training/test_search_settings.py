"""The settings of `tune`: those of `train`, and how to search."""

from __future__ import annotations

import pytest
import yaml

from tfhub_transfer import cli
from tfhub_transfer.config import Config, HeadConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.runs import Run
from tfhub_transfer.training.search_settings import SHORT_FLAGS, SearchConfig, TuneConfig


def parsed(*flags: str) -> TuneConfig:
    return cli.parse("tune", "Tune.", TuneConfig, flags, short=SHORT_FLAGS)


def test_short_flags_are_the_section_s():
    config = parsed("--trials", "7", "--tuner=grid", "--budget", "90s", "--seeds", "5",
                    "--head.dropout", "0.1", "--run", "r")  # fmt: skip
    assert config.search == SearchConfig(trials=7, tuner="grid", budget="90s", seeds=5)
    assert config.of_run() == Config(head=HeadConfig(dropout=0.1))


def test_a_run_s_own_file_is_accepted_and_may_hold_a_space(tmp_path):
    run = Run(tmp_path)
    run.write_config(Config(head=HeadConfig(hidden=(7,))))
    assert parsed("--config", str(run.config_file)).of_run().head.hidden == (7,)
    content = yaml.safe_load(run.config_file.read_text())
    space = {"head.l2": [0, 1e-3], "head.hidden": [[], [9, 3]]}
    content["search"] = {"trials": 3, "space": space}
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    config = parsed("--config", str(file), "--trials", "4")
    assert config.search.trials == 4
    varied = [dimension.values for dimension in config.space().dimensions]
    assert varied == [(0.0, 1e-3), ([7], [], [9, 3])]


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), (None, None)]
)
def test_a_budget_is_a_time(budget, seconds):
    assert SearchConfig(budget=budget).seconds == seconds


@pytest.mark.parametrize("budget", ["", "20", "20 minutes", "0s", "-3m"])
def test_any_other_budget_is_refused(budget):
    with pytest.raises(ConfigError, match=f"90s, 20m or 2h. Received: '{budget}'"):
        SearchConfig(budget=budget)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"trials": 0}, "search.trials must be at least 1. Received: 0"),
        ({"seeds": 0}, "search.seeds must be at least 1. Received: 0"),
    ],
)
def test_numbers_have_limits(settings, text):
    with pytest.raises(ConfigError, match=text):
        SearchConfig(**settings)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--search.space", '{"training.epochs": [1, 2]}'], "leave training.epochs out"),
        (["--search.space", '{"training.strategy": ["fine_tuning"]}'], "add --training.epochs"),
    ],
)
def test_hyperband_decides_about_epochs(flags, text):
    with pytest.raises(ConfigError, match=text):
        parsed("--tuner", "hyperband", *flags)
    assert parsed("--tuner", "random", *flags).search.space


def test_logs_of_all_trials_are_not_written():
    with pytest.raises(ConfigError, match=r"TensorBoard.*Received: training.tensorboard true"):
        parsed("--training.tensorboard")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--oracle", "a:1"], "add --distributed chief or --distributed worker. Received: --or"),
        (["--distributed", "chief"], "add --oracle HOST:PORT. Received: --distributed chief"),
        (["--distributed", "worker", "--oracle", "a:1"], "add --run DIR. Received: --distr"),
        (["--distributed", "worker", "--oracle", "a", "--run", "r"], "HOST:PORT.*Received: 'a'"),
        (
            ["--distributed", "worker", "--oracle", "a:1", "--run", "r", "--overwrite"],
            "leave out --overwrite. Received: --distributed worker --overwrite",
        ),
        (["--wait", "soon"], "wait must be a time such as 90s, 20m or 2h. Received: 'soon'"),
        (["--lease", "0s"], "lease must be a time such as 90s, 20m or 2h. Received: '0s'"),
    ],
)
def test_more_than_one_machine_needs_an_address_and_a_directory(flags, text):
    with pytest.raises(ConfigError, match=text):
        parsed(*flags)


def test_what_a_process_is_told_of_its_own_part_is_no_setting_of_the_search():
    flags = ["--distributed", "worker", "--oracle", "node:9000", "--wait", "2m", "--lease", "30s"]
    config = parsed("--run", "r", *flags)
    assert (config.address.host, config.address.port) == ("node", 9000)
    assert (config.wait_seconds, config.lease_seconds) == (120, 30)
    assert config.settings() == parsed("--run", "r").settings()
