"""PostgreSQL: one server with checksums, which trusts who reaches loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from marquee.engines.engine import HOST, Engine
from marquee.engines.process import Command, works_in
from streams.errors import FixRequest, TryAgain

USER: Final = "marquee"
DATABASE: Final = "marquee"
DEBIAN: Final = Path("/usr/lib/postgresql")
CONNECT_S: Final = 5
UNPRIVILEGED: Final = ("postgres", "nobody")
"""Whom to be where the caller is root, as whom PostgreSQL refuses to run."""

SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # says what happens to the server, not every statement that fails
    "log_min_messages": "log",
    "log_checkpoints": "off",
}
NO_SYNC: Final[dict[str, str]] = {"fsync": "off", "full_page_writes": "off"}


class Postgres(Engine):
    """One server on loopback."""

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    """The fast shutdown: it does not wait for clients to leave."""

    @property
    def ports(self) -> tuple[int, ...]:
        """Clients'."""
        return (self.place.base_port + 32,)

    @property
    def url(self) -> str:
        """Its database."""
        return f"postgresql://{USER}@{HOST}:{self.ports[0]}/{DATABASE}"

    @property
    def settings(self) -> Mapping[str, str]:
        """Everything relational."""
        return {"MARQUEE_SQL_URL": self.url}

    def missing(self) -> str | None:
        """The server, and someone to run it."""
        if _binary("postgres") is None:
            return "PostgreSQL's server is missing (Debian: apt install postgresql)"
        return None

    def prepare(self) -> None:
        """Make the data of a new server; clear away what a killed one left."""
        data = self.place.data
        if (data / "PG_VERSION").exists():
            if not works_in(data):
                # its process id may be held by a corpse that nobody reaps, which PostgreSQL takes for a server
                (data / "postmaster.pid").unlink(missing_ok=True)
            return
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        user = _user()
        if user is not None:
            self._hand_over(data, user)
        options = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        durable = ["--no-sync"] if self.place.quick or self.place.throwaway else ["--data-checksums"]
        _run([str(_binary("initdb")), "--pgdata", str(data), *options, *durable], data, user)

    def processes(self) -> dict[str, Command]:
        """Return the server."""
        settings = {**SETTINGS, **(NO_SYNC if self.place.throwaway else {}), "port": str(self.ports[0])}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv = (str(_binary("postgres")), "-D", str(self.place.data), *options)
        return {self.name: Command(argv, self.place.data, user=_user())}

    def check(self) -> None:
        """Connect; make the database of a new server."""
        import psycopg

        address = f"host={HOST} port={self.ports[0]} user={USER} connect_timeout={CONNECT_S}"
        with psycopg.connect(f"{address} dbname=postgres", autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _hand_over(self, data: Path, user: str) -> None:
        """Give the folder to the user that runs the server. Raises FixRequest if that user cannot get there."""
        owner = pwd.getpwnam(user)
        os.chown(data, owner.pw_uid, owner.pw_gid)
        blocked = [parent for parent in data.parents if not parent.stat().st_mode & 0o001]
        if blocked:
            raise FixRequest(
                str(self.place.folder),
                f"PostgreSQL does not run as root, and {user} may not enter {blocked[-1]}; "
                "choose another folder with ENGINES_FOLDER=path, or do not be root",
            )


def _binary(name: str) -> Path | None:
    """Return a program of PostgreSQL, the newest of Debian's or the path's."""
    versions = sorted((path for path in DEBIAN.glob(f"*/bin/{name}")), key=lambda path: float(path.parts[4]))
    if versions:
        return versions[-1]
    found = shutil.which(name)
    return Path(found) if found else None


def _user() -> str | None:
    """Return whom to run the server as; None for oneself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(user for user in UNPRIVILEGED if user in known)


def _run(argv: list[str], folder: Path, user: str | None) -> None:
    done = subprocess.run(  # noqa: S603
        argv,
        cwd=folder,
        capture_output=True,
        text=True,
        user=user,
        extra_groups=None if user is None else [],
        check=False,
    )
    if done.returncode:
        raise TryAgain(f"{Path(argv[0]).name} failed: {(done.stdout + done.stderr).strip()[-500:]}")
