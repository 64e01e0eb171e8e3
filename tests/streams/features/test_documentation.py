"""The documentation is made from the definitions."""

from __future__ import annotations

from streams.features.documentation import PATH, document
from streams.features.member import MEMBER
from streams.features.title import TITLE_FEATURES


def test_the_documentation_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == document(), "run `python -m streams.features.documentation`"


def test_every_feature_is_documented() -> None:
    text = document()

    for name in (*MEMBER.feature_names(("<Genre>",)), *TITLE_FEATURES):
        assert f"`{name}`" in text
