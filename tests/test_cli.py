"""Flags, files of settings, exit codes."""

from __future__ import annotations

import errno
import os
import re
import sys

import pytest
import yaml

from tfhub_transfer import cli, pretrain, train
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.config import Config, WeightGroup
from tfhub_transfer.errors import ConfigError, DataError, RunError, TransferError


def parsed(*flags: str) -> Config:
    return cli.parse("train", "Train.", Config, flags)


def refused(capsys, *flags: str) -> str:
    with pytest.raises(SystemExit) as end:
        parsed(*flags)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    first, second = printed.err.splitlines()
    assert second == "python -m tfhub_transfer.train --help lists every flag."
    return first


def test_no_flags_are_the_defaults():
    assert parsed() == Config()


def test_flags_are_the_config_s_dotted_names():
    config = parsed(
        "--data.source", "x.csv", "--data.limit", "7", "--head.hidden", "[32, 16]",
        "--training.learning_rate", "1e-4", "--evaluation.baselines", "[majority]",
        "--training.decay=none", "--seed", "3", "--run", "r",
    )  # fmt: skip
    assert config.data.source == "x.csv"
    assert config.data.limit == 7
    assert config.head.hidden == (32, 16)
    assert config.training.learning_rate == 1e-4
    assert config.evaluation.baselines == ("majority",)
    assert config.training.decay == "none"
    assert (config.seed, config.run) == (3, "r")


def test_groups_of_weights_and_stages_in_one_flag_and_in_yaml(tmp_path):
    flags = [
        "--training.strategy", "fine_tuning", "--data.stages", "[0.1, 1]",
        "--training.groups", '[{"match": "layer_5", "rate": 0.1}, {"match": "^layer"}]',
    ]  # fmt: skip
    config = parsed(*flags)
    assert config.training.groups == (WeightGroup("layer_5", 0.1), WeightGroup("^layer", 1.0))
    assert config.data.stages == (0.1, 1.0)
    file = tmp_path / "settings.yaml"
    file.write_text(
        "training:\n  strategy: fine_tuning\n  groups:\n  - match: layer_5\n    rate: 0.1\n"
        "  - match: ^layer\ndata:\n  stages: [0.1, 1]\n"
    )
    assert parsed("--config", str(file)) == config


@pytest.mark.parametrize("empty", ["--head.hidden=[]", "--evaluation.baselines=[]"])
def test_a_list_may_be_empty(empty):
    config = parsed(empty)
    assert () in (config.head.hidden, config.evaluation.baselines)


@pytest.mark.parametrize(
    ("flags", "resume"),
    [
        (["--resume", "--run", "r"], True),
        (["--run", "r", "--resume"], True),
        (["--run", "r", "--resume", "true"], True),
        (["--run", "r", "--resume=false"], False),
    ],
)
def test_a_bare_boolean_is_true(flags, resume):
    assert parsed(*flags).resume is resume


def test_booleans_of_nested_settings(capsys):
    assert parsed("--encoder.offline").encoder.offline is True
    assert parsed("--encoder.cache", "false").encoder.cache is False
    assert "encoder.cache" in refused(capsys, "--encoder.cache", "maybe")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--no-calibrate"], {"calibrate": False}),
        (["--no_calibrate"], {"calibrate": False}),
        (["--calibrate", "false"], {"calibrate": False}),
        (["--serving-version", "2.20"], {"serving_version": "2.20"}),
        (["--serving-version=2.20"], {"serving_version": "2.20"}),
        (["--name", "a--no-b"], {"name": "a--no-b"}),
        (["--format", "[tflite, onnx]"], {"format": ("tflite", "onnx")}),
        (["--format", "tflite"], {"format": ("tflite",)}),
        (["--format", "tflite,onnx"], {"format": ("tflite", "onnx")}),
        (["--format=onnx", "--quantize"], {"format": ("onnx",), "quantize": True}),
    ],
)
def test_dashes_and_negations_are_understood(flags, expected):
    config = cli.parse("export", "Export.", ExportConfig, ["--run", "r", *flags])
    assert {name: getattr(config, name) for name in expected} == expected


def test_a_negation_of_what_is_no_switch(capsys):
    with pytest.raises(SystemExit):
        cli.parse("export", "Export.", ExportConfig, ["--run", "r", "--no-such"])
    assert "unrecognized arguments: --no-such" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["--trainin.epochs", "2"],
            r"^error: unrecognized arguments: --trainin\.epochs 2\. "
            r"Did you mean '--training\.epochs'\?$",
        ),
        (["--see", "1"], r"^error: unrecognized arguments: --see 1\. Did you mean '--seed'\?$"),
        (["--qqqqqqqq"], r"^error: unrecognized arguments: --qqqqqqqq$"),
        (["stray"], r"^error: unrecognized arguments: stray$"),
        (["--training.patience", "two"], r"^error: .*training\.patience.* Got value: two$"),
        (["--training.decay", "linea"], r"training\.decay.*'none', 'linear', 'cosine'.*linea"),
        (["--head.hidden", "wide"], r"head\.hidden.*wide"),
        (["--config", "no-such.yaml"], r"does not exist: '.*no-such\.yaml'"),
    ],
)
def test_a_wrong_flag_is_one_line(capsys, flags, text):
    assert re.search(text, refused(capsys, *flags))


def test_a_missing_flag_is_called_by_its_flag(capsys):
    from tfhub_transfer.predict import PredictConfig

    with pytest.raises(SystemExit):
        cli.parse("predict", "Label.", PredictConfig, [])
    assert "arguments are required: --run\n" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["--training.epochs", "--training.batch_size"])
def test_a_value_out_of_range_is_a_config_error(value):
    with pytest.raises(ConfigError, match=rf"{value[2:]} must be at least 1\. Received: 0"):
        parsed(value, "0")


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("seed: 5\ntraining:\n  epochs: 9\n  patience: 2\nhead: {hidden: [8, 4]}\n")
    config = parsed("--config", str(file), "--training.epochs", "3")
    assert (config.seed, config.training.epochs, config.training.patience) == (5, 3, 2)
    assert config.head.hidden == (8, 4)
    assert parsed("--training.epochs", "3", "--config", str(file)).training.patience == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("trainin: {epochs: 1}", "trainin"),
        ("training: {epoch: 1}", "'training' does not accept option 'epoch'"),
        ("training: {epochs: two}", "two"),
        ("training: [1", "Problems parsing config"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, capsys, content, text):
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    assert text in refused(capsys, "--config", str(file))


def test_a_file_s_values_are_checked_too(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("head: {dropout: 2.0}")
    with pytest.raises(ConfigError, match=r"head\.dropout must be from 0 to 0\.99"):
        parsed("--config", str(file))


def test_what_print_config_prints_is_read_back(tmp_path, capsys):
    flags = ["--head.hidden", "[7]", "--data.source", "ä 'b'.csv", "--training.decay", "none",
             "--training.learning_rate", "1e-07", "--data.label_separator", "|"]  # fmt: skip
    with pytest.raises(SystemExit) as end:
        parsed(*flags, "--print_config")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["head"]["hidden"] == [7]
    file = tmp_path / "printed.yaml"
    file.write_text(printed, encoding="utf-8")
    assert parsed("--config", str(file)) == parsed(*flags)
    assert parsed("--config", str(file)) != Config()


def test_help_tells_every_setting_and_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, group in Config().to_dict().items():
        for flag in [f"{name}.{inner}" for inner in group] if isinstance(group, dict) else [name]:
            assert f"--{flag} " in text
    assert "the share of the training rows held out" in text
    assert f"default: {Config().training.batch_size}" in text


@pytest.mark.parametrize("error", [TransferError("what, where"), DataError("what, where")])
def test_an_error_on_purpose_is_one_line_and_2(capsys, error):
    def fail() -> int:
        raise error

    assert cli.guarded(fail) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: what, where\n")


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.guarded(lambda: 1 // 0)


def test_a_full_disk_needs_no_traceback(capsys):
    def fail() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "some/file")

    assert cli.guarded(fail) == 2
    assert capsys.readouterr().err == "error: No space left on device. Received: some/file\n"
    with pytest.raises(OSError, match="Bad address"):
        cli.guarded(lambda: (_ for _ in ()).throw(OSError(errno.EFAULT, "Bad address")))


def test_ctrl_c_is_130(capsys):
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert cli.guarded(interrupt) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_left_is_no_error(tmp_path, monkeypatch):
    def write() -> int:
        raise BrokenPipeError

    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.guarded(write) == 0
        print("more")
        out.flush()
    assert (tmp_path / "out").read_text() == "", "what is still printed goes nowhere"


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_s_own_code_is_passed_on(code):
    assert cli.guarded(lambda: code) == code


def test_tensorflow_starts_without_chatter(capfd):
    cli.import_tensorflow()
    assert "tensorflow" in sys.modules
    assert capfd.readouterr().err == ""


def test_what_is_no_chatter_is_passed_on(capfd, monkeypatch):
    import tensorflow

    def constant(_value: int) -> None:
        os.write(2, b"I0000 00:00:1 1 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"W0000 00:00:1 1 disk.cc:9] the disk is on fire\n")

    monkeypatch.setattr(tensorflow, "constant", constant)
    cli.import_tensorflow()
    assert capfd.readouterr().err == "W0000 00:00:1 1 disk.cc:9] the disk is on fire\n"


def test_where_it_does_not_start_everything_is_told(capfd, monkeypatch):
    import tensorflow

    def constant(_value: int) -> None:
        os.write(2, b"I0000 00:00:1 1 port.cc:153] oneDNN custom operations are on.\n")
        raise RuntimeError("no devices")

    monkeypatch.setattr(tensorflow, "constant", constant)
    with pytest.raises(RuntimeError, match="no devices"):
        cli.import_tensorflow()
    assert "port.cc:153" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags"), [(train, []), (pretrain, ["swivel", "--corpus", "some.txt"])]
)
def test_a_taken_directory_is_told_before_tensorflow_is_imported(
    tmp_path, monkeypatch, command, flags
):
    def imported() -> None:
        raise AssertionError("it takes seconds")

    monkeypatch.setattr(cli, "import_tensorflow", imported)
    (tmp_path / "mine").touch()
    with pytest.raises(RunError, match="not empty"):
        command.main([*flags, "--run", str(tmp_path)])
    with pytest.raises(AssertionError, match="seconds"):
        command.main([*flags, "--run", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
