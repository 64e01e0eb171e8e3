from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import FixRequest
from streams.settings import Settings, load_settings


@pytest.mark.parametrize("port", ["abc", "80000", "-1"])
def test_a_setting_that_cannot_be_names_its_variable(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("MARQUEE_PORT", port)
    load_settings.cache_clear()
    with pytest.raises(FixRequest, match="MARQUEE_PORT") as refused:
        load_settings()
    assert port in str(refused.value)
    load_settings.cache_clear()


def test_an_embedded_engine_lies_below_the_state_folder_unless_its_path_is_absolute() -> None:
    settings = Settings(state=Path("/state"), hot_url="embedded:/elsewhere/hot")
    assert settings.path_of(settings.log_url) == Path("/state/log")
    assert settings.path_of(settings.hot_url) == Path("/elsewhere/hot")
