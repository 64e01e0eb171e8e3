from __future__ import annotations

import sqlalchemy as sa

from streams.importers.progress import Progress, ProgressTable


def test_progress_comes_back_as_it_was_kept_last(sql_engine: sa.Engine) -> None:
    table = ProgressTable(sql_engine)
    assert table.read("a" * 64) is None
    for appended in (0, 20_000):
        table.write("a" * 64, Progress(appended, 3, [1, 0, 2**40], -86_400_000))
    table.write("b" * 64, Progress(5, 1, [], 0))
    assert table.read("a" * 64) == Progress(20_000, 3, [1, 0, 2**40], -86_400_000)
    assert table.read("b" * 64) == Progress(5, 1, [], 0)
