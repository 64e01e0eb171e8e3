"""The routes of experiments where not all is open: the database is away, or others reach the platform."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from serving.experiments.roles import add_key, new_key
from tests.serving.experiments.definitions import definition
from tests.serving.platform import running_platform
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_without_the_database_every_route_says_when_to_try_again(
    tmp_path: Path, postgres_schema_url: str
) -> None:
    there, key = sa.make_url(postgres_schema_url), new_key()
    with TcpProxy(str(there.host), there.port or 5432) as proxy:
        url = there.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with running_platform(tmp_path, sql_url=url, sql_timeout_s=1, model=False) as platform:
            add_key(platform.services.sql, key, "ann", "approver", 1)
            sent = {"authorization": f"Bearer {key}"}
            body = msgspec.json.encode(definition("a"))
            assert (await platform.client.post("/v1/experiments", content=body, headers=sent)).status_code == 201
            proxy.cut()
            for method, path in (("GET", ""), ("GET", "/a"), ("GET", "/a/audit"), ("POST", "/a/start"), ("PUT", "/a")):
                answer = await platform.client.request(method, f"/v1/experiments{path}", headers=sent, content=body)
                assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
                assert int(answer.headers["retry-after"]) >= 1
                assert "postgres" not in answer.json()["fix"]
            proxy.mend()
            started = await platform.client.post("/v1/experiments/a/start", headers=sent)
            assert started.json()["status"] == "running"


@pytest.mark.anyio
async def test_where_others_reach_the_platform_reading_wants_a_key(tmp_path: Path) -> None:
    async with running_platform(tmp_path, host="0.0.0.0", model=False) as platform:
        for path in ("/v1/experiments", "/v1/experiments/a", "/v1/keys/mine"):
            answer = await platform.client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        key = new_key()
        add_key(platform.services.sql, key, "ann", "viewer", 1)
        sent = {"authorization": f"Bearer {key}"}
        assert (await platform.client.get("/v1/experiments", headers=sent)).json() == {"experiments": [], "next": None}
