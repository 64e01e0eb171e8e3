"""What holds in every test process."""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

pytest_plugins = ("tests.engines", "tests.sql_databases")
