"""The agents as a Faust app: `faust -A streams.app worker`.

Settings come from the environment as everywhere (MARQUEE_LOG_URL=kafka://…); MARQUEE_AGENTS says which agents.
"""

from __future__ import annotations

from streams.agents.faust.worker import WorkerApp
from streams.settings import load_settings

app = WorkerApp(load_settings().agents.split(","), load_settings())
