"""Versions only go up and are never seen half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import filelock
import pytest

from tfhub_transfer.artifact.version_directory import new_version, versions
from tfhub_transfer.errors import ArtifactError


def write(directory, wanted=None):
    with new_version(directory, wanted) as (number, path):
        path.mkdir()
        (path / "saved_model.pb").write_text(str(number))
    return number


def test_versions_count_up(tmp_path):
    model = tmp_path / "deep" / "model"
    assert [write(model), write(model), write(model, 7), write(model)] == [1, 2, 7, 8]
    assert versions(model) == [1, 2, 7, 8]
    assert (model / "8" / "saved_model.pb").read_text() == "8"


def test_a_deleted_version_stays_used(tmp_path):
    write(tmp_path, 4)
    (tmp_path / "4" / "saved_model.pb").unlink()
    (tmp_path / "4").rmdir()
    assert write(tmp_path) == 5


@pytest.mark.parametrize("wanted", [1, 3])
def test_a_version_as_high_as_the_last_is_refused(tmp_path, wanted):
    write(tmp_path, 3)
    with pytest.raises(ArtifactError, match=f"only go up.* is 3. Received: --version {wanted}"):
        write(tmp_path, wanted)
    assert (tmp_path / "3" / "saved_model.pb").read_text() == "3"


def test_what_is_in_the_way_of_a_version(tmp_path):
    (tmp_path / "1").write_text("a file")
    (tmp_path / "2").symlink_to("nowhere")
    (tmp_path / ".writing-3-x").symlink_to(tmp_path)
    assert write(tmp_path) == 3
    assert sorted(os.listdir(tmp_path)) == [".last_version", ".lock", "1", "2", "3"]


def test_versions_end_where_servers_stop_counting(tmp_path):
    with pytest.raises(ArtifactError, match=r"at most 9223372036854775807.*Received: --version 9"):
        write(tmp_path, 2**63)
    write(tmp_path, 2**63 - 1)
    with pytest.raises(ArtifactError, match=r"servers pass over higher numbers"):
        write(tmp_path)


def test_a_number_is_used_before_its_version_can_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.rename", fails)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path)
    monkeypatch.undo()
    assert not versions(tmp_path)
    assert write(tmp_path) == 2


def fails(*arguments):
    raise OSError("disk full")


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="full"), new_version(tmp_path) as (_, path):
        path.mkdir()
        (path / "half").write_text("")
        assert not versions(tmp_path), "not before all is well"
        raise OSError("disk full")
    assert not [name for name in os.listdir(tmp_path) if name != ".lock"]
    assert write(tmp_path) == 1


def test_one_export_at_a_time(tmp_path):
    held = filelock.FileLock(tmp_path / ".lock")
    with held, pytest.raises(ArtifactError, match="Another process is exporting"):
        write(tmp_path)


def test_what_is_no_version_is_passed_over(tmp_path):
    for name in ("deploy", "1a", ".writing-2-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").write_text("a file")
    assert versions(tmp_path) == []
    assert versions(tmp_path / "none") == []


KILLED = """
import sys, time
from pathlib import Path
from tfhub_transfer.artifact.version_directory import new_version
while True:
    with new_version(Path(sys.argv[1])) as (number, path):
        path.mkdir()
        for part in range(20):
            (path / f"part-{part}").write_bytes(bytes(50_000))
        (path / "saved_model.pb").write_text(str(number))
"""


def test_kill_9_at_any_moment_leaves_only_whole_versions(tmp_path):
    highest = 0
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
        deadline = time.monotonic() + 20
        while not any(n > highest for n in versions(tmp_path)):
            assert time.monotonic() < deadline
            time.sleep(0.003)
        time.sleep(0.004 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        found = versions(tmp_path)
        for number in found:
            version = tmp_path / str(number)
            assert (version / "saved_model.pb").read_text() == str(number)
            assert all((version / f"part-{n}").stat().st_size == 50_000 for n in range(20))
        highest = found[-1]
    # one more than the highest, if the last kill came just before the rename
    used = int((tmp_path / ".last_version").read_text())
    assert used in (highest, highest + 1)
    assert write(tmp_path) == used + 1
    assert not list(tmp_path.glob(".writing-*")), "the next export clears up"
