"""Which models and versions are served: configurations, and what counts as a version."""

from __future__ import annotations

import pytest

from tests.serving.running import settings
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.serving.model_config import configured_models, versions_in
from tfhub_transfer.serving.settings import ServeConfig


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"no model in --model_config_file .*models\.config"),
        ("model_config_list { config { name: 'a' } }", r"name 'a', base_path '' in"),
        (
            r"model_config_list { config { name: 'a' base_path: 'x\000y' } }",
            r"A path holds no NUL\. Received: 'x\\x00y' in --model_config_file",
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'x' } "
            "config { name: 'a' base_path: 'y' } }",
            r"'a' twice in",
        ),
        ("model_config_list {\n config { nam: 'a' } }", r"2:11 .* no field named \"nam\""),
    ],
)
def test_a_configuration_that_cannot_be_used(tmp_path, content, complaint):
    path = tmp_path / "models.config"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        configured_models(settings(None, model_config_file=str(path)))


def test_a_base_path_with_a_nul(tmp_path):
    with pytest.raises(ConfigError, match=r"no NUL\. Received: --model_base_path 'a\\x00b'$"):
        configured_models(ServeConfig(model_base_path="a\0b"))


def test_what_is_a_version(tmp_path):
    for name in ("1", "0042", "7", "007", "+3", "-1", "1.5", "x", "٣", ".writing-9", "9" * 20):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    found = {number: path.name for number, path in versions_in(tmp_path).items()}
    assert found == {1: "1", 42: "0042", 7: "7"}
