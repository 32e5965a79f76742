"""Settings: from variables and flags, with errors that name the variable."""

from __future__ import annotations

import pytest

from pairscope.config import Settings
from pairscope.errors import ConfigError
from pairscope.process import load_settings


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_lists_are_comma_separated(monkeypatch):
    monkeypatch.setenv("PAIRSCOPE_SYMBOLS", "BTCUSDT, ETHUSDT,,")
    assert load_settings().symbols == ("BTCUSDT", "ETHUSDT")


def test_a_flag_wins_over_the_environment_and_the_environment_over_the_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PAIRSCOPE_TOP=5\nPAIRSCOPE_STALL_SECONDS=7\n")
    monkeypatch.setenv("PAIRSCOPE_TOP", "6")
    assert load_settings().top == 6
    assert load_settings(top=9).top == 9
    assert load_settings().stall_seconds == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAIRSCOPE_PORT", "70000"),
        ("PAIRSCOPE_SOURCE", "moon"),
        ("PAIRSCOPE_STALL_SECONDS", "-1"),
        ("PAIRSCOPE_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_told_with_its_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as told:
        load_settings()
    assert told.value.loc == name


def test_ports_may_be_auto():
    assert load_settings(port="auto").port == "auto"
    assert load_settings(port="8123").port == 8123


def test_the_store_is_a_file_under_the_data_directory_by_default(tmp_path):
    assert load_settings(data_dir=tmp_path).store_url == f"duckdb:///{tmp_path}/pairscope.duckdb"


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())
