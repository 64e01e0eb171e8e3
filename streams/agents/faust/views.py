"""What a worker's web server shows: metrics, readiness, and what each agent holds and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.agents.faust.group import GroupApp
from streams.agents.health import AgentHealth


class ViewedWorker(Protocol):
    """What the views show of."""

    health: AgentHealth
    groups: Sequence[GroupApp]

    def is_ready(self) -> bool:
        """Return whether every agent makes progress."""
        ...


class Metrics(View):
    """Every metric of the process, for Prometheus."""

    view_name = "metrics"
    view_path = "/metrics"

    async def get(self, request: Request, **kwargs: Any) -> Response:
        return self.bytes(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Readyz(View):
    """Whether every agent makes progress, and why those wait that do not."""

    view_name = "readyz"
    view_path = "/readyz"

    async def get(self, request: Request, **kwargs: Any) -> Response:
        worker = cast("ViewedWorker", self.app)
        return self.json({"agents": dict(worker.health.reasons())}, status=200 if worker.is_ready() else 503)


class Agents(View):
    """Each agent's consumer group: the partitions held with position, end and lag, and Faust's count of rebalances."""

    view_name = "agents"
    view_path = "/agents"

    async def get(self, request: Request, **kwargs: Any) -> Response:
        groups = cast("ViewedWorker", self.app).groups
        return self.json({group.group: _group(group) for group in groups})


VIEWS = (Metrics, Readyz, Agents)


def _group(group: GroupApp) -> dict[str, Any]:
    return {
        "group": group.conf.id,
        "rebalances": group.monitor.rebalances,
        "records": group.monitor.messages_received_total,
        "partitions": [
            {"topic": at.topic, "partition": at.partition, "position": position, "end": end, "lag": end - position}
            for at, position, end in group.progress()
        ],
    }
