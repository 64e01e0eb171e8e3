"""Experiments over HTTP and on the command line: from a draft to the default, by who may, and nobody's edit lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from serving.experiments.key_files import write_key
from streams.experiments.definition import Patch
from streams.settings import Settings
from tests.serving.api.conftest import lengthen_trail, make_key
from tests.serving.experiments.definitions import definition

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "experiments" / "example.json"


@pytest.fixture(scope="module")
def keys(settings: Settings, url: str, approver: str) -> dict[str, str]:
    return {"viewer": make_key(settings, "viewer"), "editor": make_key(settings, "editor"), "approver": approver}


@pytest.fixture
def api(client: httpx.Client, keys: dict[str, str]) -> Api:
    return Api(client, keys)


class Api:
    """Calls with the key of a role."""

    def __init__(self, client: httpx.Client, keys: dict[str, str]) -> None:
        self.client, self.keys = client, keys

    def __call__(
        self, method: str, path: str = "", body: Any = None, role: str = "approver", **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if role:
            sent["authorization"] = f"Bearer {self.keys.get(role, role)}"
        content = None if body is None else msgspec.json.encode(body)
        return self.client.request(method, f"/v1/experiments{path}", content=content, headers=sent)

    def ok(self, method: str, path: str = "", body: Any = None, role: str = "approver", **headers: str) -> Any:
        answer = self(method, path, body, role, **headers)
        assert answer.is_success, answer.text
        return answer.json()

    def refused(
        self, status: int, method: str, path: str = "", body: Any = None, role: str = "approver", **h: str
    ) -> Any:
        answer = self(method, path, body, role, **h)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["field"]
        assert problem["fix"]
        return problem


def test_a_life_from_draft_to_default_and_back(api: Api) -> None:
    created = api("POST", "", definition("life", traffic=0.5, layer="life"), "editor")
    assert (created.status_code, created.headers["etag"]) == (201, '"1"')
    assert created.headers["location"] == "/v1/experiments/life"
    assert (created.json()["status"], created.json()["definition"]["plan"]["alpha"]) == ("draft", 0.05)
    assert api.ok("POST", "/life/start", role="editor")["traffic"] == 0.5
    assert api.ok("POST", "/life/ramp", {"traffic": 0.75, "revision": 2}, "editor")["traffic"] == 0.75
    assert api.ok("POST", "/life/stop", {"reason": "enough"}, "editor")["status"] == "stopped"
    decided = api.ok("POST", "/life/decide", {"verdict": "ship", "reason": "we like it"})
    assert (decided["verdict"], decided["reasons"][0]) == ("ship", "overridden: we like it")
    assert api.ok("POST", "/life/ship", {"reason": "go"})["shipped"] == "v1"
    assert api.ok("POST", "/life/undo", {"reason": "oops"})["shipped"] is None
    assert api.ok("POST", "/life/archive", {"reason": "done"})["status"] == "archived"
    entries = api.ok("GET", "/life/audit")["entries"]
    what = ["create", "start", "ramp", "stop", "decide", "ship", "undo", "archive"]
    assert [entry["action"] for entry in entries] == what
    assert [entry["role"] for entry in entries] == ["editor"] * 4 + ["approver"] * 4
    assert api.ok("GET", f"/life/audit?after={entries[5]['n']}")["entries"] == entries[6:]


def test_who_may_not_is_told_what_it_takes(api: Api) -> None:
    draft = definition("guarded")
    assert api.refused(401, "POST", "", draft, role="")["title"] == "Unauthorized"
    assert api("POST", "", draft, role="").headers["www-authenticate"] == "Bearer"
    api.refused(401, "POST", "", draft, role="mq_nobody")
    api.refused(401, "POST", "", draft, role="x" * 5_000)
    assert "editor" in api.refused(403, "POST", "", draft, role="viewer")["fix"]
    api.ok("POST", "", draft, "editor")
    api.ok("POST", "/guarded/start", role="editor")
    api.ok("POST", "/guarded/stop", {"reason": "enough"}, "editor")
    for action, body in (
        ("decide", {"verdict": "ship", "reason": "r"}),
        ("ship", {"reason": "r"}),
        ("undo", {"reason": "r"}),
    ):
        assert "approver" in api.refused(403, "POST", f"/guarded/{action}", body, "editor")["fix"]
    assert api.ok("GET", "/guarded")["status"] == "stopped"


def test_the_rules_decide_unless_a_person_says_why_not(api: Api) -> None:
    for name in ("ruled", "overruled"):
        api.ok("POST", "", definition(name))
        api.ok("POST", f"/{name}/start")
        assert "running" in api.refused(409, "POST", f"/{name}/decide", {"verdict": "ship", "reason": "soon"})["fix"]
        api.ok("POST", f"/{name}/stop", {"reason": "enough"})
    ruled = api.ok("POST", "/ruled/decide")
    assert (ruled["status"], ruled["verdict"]) == ("decided", "inconclusive")
    assert ruled["reasons"]
    assert api.refused(422, "POST", "/overruled/decide", {"verdict": "ship"})["field"] == "reason"
    api.refused(422, "POST", "/overruled/decide", {"reason": "x" * 2_001})
    assert api.ok("POST", "/overruled/decide", {"verdict": "ship", "reason": "a contract"})["verdict"] == "ship"
    assert "contract" in api.ok("GET", "/overruled/audit")["entries"][-1]["detail"]["overridden"]


def test_reading_is_open_on_this_machine_and_a_wrong_key_is_no_way_in(api: Api, client: httpx.Client) -> None:
    api.ok("POST", "", definition("readable"))
    for path in ("", "/readable", "/readable/audit"):
        api.ok("GET", path, role="")
        api.refused(401, "GET", path, role="mq_wrong")
    assert client.get("/v1/keys/mine").json() == {"name": "anyone", "role": "viewer"}
    key = {"authorization": f"Bearer {api.keys['editor']}"}
    assert client.get("/v1/keys/mine", headers=key).json()["role"] == "editor"


def test_all_problems_of_a_definition_are_said_at_once_and_nothing_is_kept(api: Api) -> None:
    wrong = definition("wrong", mde=-1.0, traffic=2.0)
    problem = api.refused(422, "POST", "", wrong)
    assert [each["field"] for each in problem["errors"]] == ["mde", "traffic"]
    assert api.ok("POST", "/validate", wrong, role="")["errors"] == problem["errors"]
    unknown = {**msgspec.to_builtins(definition("wrong")), "colour": "red"}
    assert api.refused(422, "POST", "", unknown)["field"] == "colour"
    assert api.ok("POST", "/validate", unknown) == {
        "valid": False,
        "errors": [{"field": "colour", "fix": "there is no such field; leave it out, or see how it is spelt"}],
    }
    assert api.ok("POST", "/validate", definition("wrong")) == {"valid": True, "errors": []}
    api.refused(404, "GET", "/wrong")
    api.refused(413, "POST", "", {"id": "x" * (1 << 20)})
    api.refused(422, "POST", "", definition("bad", patch={"model": "nobody"}))  # type: ignore[arg-type]  # as JSON has it


def test_of_two_editors_the_second_is_told(api: Api) -> None:
    api.ok("POST", "", definition("shared"))
    first = api("PUT", "/shared", definition("shared", hypothesis="Mine"), if_match='"1"')
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    problem = api.refused(409, "PUT", "/shared", definition("shared", hypothesis="Yours"), if_match='"1"')
    assert "at 2, not 1" in problem["fix"]
    assert api.refused(422, "PUT", "/shared", definition("shared"))["field"] == "If-Match"
    for unread in ("latest", "*", "", '"1", "2"'):
        problem = api.refused(422, "PUT", "/shared", definition("shared"), if_match=unread)
        assert problem["field"] == "If-Match", unread
    api.refused(409, "POST", "/shared/start", {"revision": 1})
    api.refused(409, "POST", "/shared/start", {"revision": 1}, if_match="*")
    assert api.ok("GET", "/shared")["definition"]["hypothesis"] == "Mine"
    api.refused(409, "POST", "", definition("shared"))


def test_what_its_status_does_not_allow_is_a_conflict(api: Api) -> None:
    api.ok("POST", "", definition("early"))
    for action, body in (("stop", {"reason": "r"}), ("ramp", {"traffic": 1}), ("undo", {"reason": "r"})):
        assert "draft" in api.refused(409, "POST", f"/early/{action}", body)["fix"]
    assert api.refused(422, "POST", "/early/stop")["field"] == "reason"
    api.refused(404, "POST", "/nobody/start")
    api.refused(422, "POST", "/early/start", {"now": True})


def test_lists_are_by_status_and_in_pages(api: Api) -> None:
    for name in ("page-a", "page-b", "page-c"):
        api.ok("POST", "", definition(name))
    api.ok("POST", "/page-b/archive", {"reason": "an example"})
    page = api.ok("GET", "?status=draft&after=page-&limit=1")
    assert ([each["id"] for each in page["experiments"]], page["next"]) == (["page-a"], "page-a")
    page = api.ok("GET", f"?status=draft&status=archived&after={page['next']}&limit=2")
    assert [(each["id"], each["status"]) for each in page["experiments"]] == [
        ("page-b", "archived"),
        ("page-c", "draft"),
    ]
    api.refused(422, "GET", "?status=lost")


@pytest.fixture(scope="module")
def long_trail(settings: Settings, client: httpx.Client, keys: dict[str, str]) -> str:
    """An experiment with more in its audit trail than any one answer has."""
    Api(client, keys).ok("POST", "", definition("long-trail"))
    lengthen_trail(settings, "long-trail", 1_100)
    return "long-trail"


def test_an_audit_trail_is_read_in_pages_from_either_end(api: Api, long_trail: str) -> None:
    for order, first, last in (("oldest", "create", "edit 1099"), ("newest", "edit 1099", "create")):
        read, after, pages = list[dict[str, Any]](), 0, 0
        while after is not None:
            page = api.ok("GET", f"/{long_trail}/audit?order={order}&limit=200&after={after}")
            read, after, pages = read + page["entries"], page["next"], pages + 1
            assert len(page["entries"]) <= 200
        numbers = [entry["n"] for entry in read]
        assert (len(set(numbers)), pages) == (1_101, 6)
        assert numbers == sorted(numbers, reverse=order == "newest")
        assert [entry["detail"].get("reason", entry["action"]) for entry in (read[0], read[-1])] == [first, last]
    assert len(api.ok("GET", f"/{long_trail}/audit")["entries"]) == 100
    api.refused(422, "GET", f"/{long_trail}/audit?limit=501")
    api.refused(422, "GET", f"/{long_trail}/audit?order=best")


def test_pages_follow_an_experiment_from_its_start_to_its_default_and_back(api: Api) -> None:
    patch = Patch(rows=("popular",), params={"row_size": 6})
    api.ok("POST", "", definition("followed", (0.5, 0.5), patch, forced={"ann": "v1", "ben": "v0"}))
    api.ok("POST", "/followed/start")
    eventually(lambda: (shape(api, "ann"), shape(api, "ben")[0]) == (("v1", "popular", 6), "v0"))
    assert shape(api, "ben")[2] != 6
    api.ok("POST", "/followed/stop", {"reason": "enough"})
    api.ok("POST", "/followed/decide", {"verdict": "ship", "reason": "we like it"})
    api.ok("POST", "/followed/ship", {"reason": "go"})
    eventually(lambda: shape(api, "ann") == shape(api, "ben") == (None, "popular", 6))
    api.ok("POST", "/followed/undo", {"reason": "oops"})
    eventually(lambda: shape(api, "ann")[2] != 6)


def shape(api: Api, member_id: str) -> tuple[str | None, str, int]:
    """Return a member's variant, and the kind and size of their page's first row."""
    page = api.client.get("/homepage", params={"member_id": member_id}).json()
    return page["served"]["variants"].get("followed"), page["rows"][0]["kind"], len(page["rows"][0]["items"])


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it holds: a second or two on a machine with nothing else to do."""
    deadline_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_the_command_line_leads_from_a_file_to_a_shipped_winner(
    url: str, keys: dict[str, str], settings: Settings, tmp_path: Path, long_trail: str
) -> None:
    key_file = tmp_path / "approver.key"
    write_key(key_file, keys["approver"])
    example = json.loads(EXAMPLE.read_text()) | {"id": "from-a-file"}
    (tmp_path / "mine.json").write_text(json.dumps(example))
    (tmp_path / "wrong.toml").write_text('id = "Wrong One"\n')
    environment = os.environ | {
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_KEY_FILE": str(key_file),
        "COLUMNS": "200",
    }
    code = f"""
import contextlib, sys
from marquee.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["marquee", "experiments", "--url", {url!r}, *line.split("|")]
    with contextlib.suppress(SystemExit):
        main()
"""

    def run(*lines: str) -> list[str]:
        done = subprocess.run(
            (sys.executable, "-c", code),
            input="\n".join(lines),
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return (done.stdout + done.stderr).splitlines()

    said = run(
        f"validate|{tmp_path}/mine.json",
        f"create|{tmp_path}/mine.json",
        f"edit|{tmp_path}/mine.json",
        "start|from-a-file",
        "ramp|from-a-file|0.5",
        "stop|from-a-file|--reason|enough",
        "decide|from-a-file|ship|--reason|it is better",
        "ship|from-a-file|--reason|go|--override|variant|--override|champion",
        "undo|from-a-file|--reason|oops",
        "archive|from-a-file|--reason|done",
    )
    assert said == [
        f"{tmp_path}/mine.json can be run",
        "from-a-file is draft, revision 1",
        "from-a-file is draft, revision 2",
        "from-a-file is running, revision 3; 5 % of layer page-layout take part",
        "from-a-file is running, revision 4; 50 % of layer page-layout take part",
        "from-a-file is stopped, revision 5",
        "from-a-file is decided, revision 6; verdict ship",
        "from-a-file is promoted, revision 7; short is the default",
        "from-a-file is decided, revision 8; verdict ship",
        "from-a-file is archived, revision 9",
    ]
    shown = "\n".join(run("show|from-a-file", "list|--status|archived", "audit|from-a-file"))
    assert all(word in shown for word in ("played_within_a_day", "page-layout", "decide", "oops"))
    assert "short (overrides: variant) (overrides: champion): go" in shown
    edits = [line.split()[-1] for line in run(f"audit|{long_trail}") if " edit " in line]
    assert edits == [str(number) for number in range(1_100)], "a trail is shown whole, however many answers that takes"
    refused = run(
        "show|nobody",
        f"create|{tmp_path}/none.json",
        f"create|{tmp_path}/wrong.toml",
        "start|from-a-file",
        "ship|from-a-file|--reason|x|--override|all",
    )
    assert [line.split(":")[0] for line in refused] == ["error"] * 5
    assert "override" in refused[4]
    assert "hypothesis: it is missing" in refused[2]
    environment["MARQUEE_KEY_FILE"] = str(tmp_path / "no.key")
    assert "Authorization" in run("stop|from-a-file|--reason|x")[0]
