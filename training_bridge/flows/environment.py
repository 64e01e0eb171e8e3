"""Metaflow's settings: everything it keeps goes below the state folder, and it calls nobody."""

from __future__ import annotations

import getpass
import os
from collections.abc import MutableMapping

from streams.settings import Settings


def metaflow_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a process that runs flows, or reads their runs, of this state folder."""
    root = settings.state.resolve() / "metaflow"
    return {
        "MARQUEE_STATE": str(settings.state.resolve()),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(root),
        "METAFLOW_CLIENT_CACHE_PATH": str(root / "client"),
        "METAFLOW_HOME": str(root / "home"),
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DEFAULT_ENVIRONMENT": "local",
        "METAFLOW_DEFAULT_EVENT_LOGGER": "nullSidecarLogger",
        "METAFLOW_DEFAULT_MONITOR": "nullSidecarMonitor",
        "METAFLOW_FEAT_ALWAYS_UPLOAD_CODE_PACKAGE": "",
        "METAFLOW_USER": flow_user(os.environ.get("METAFLOW_USER") or _login()),
    }


def configure_metaflow(settings: Settings, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the environment; call it before Metaflow is imported, which is when it reads it."""
    environment.update(metaflow_environment(settings))


def flow_user(login: str) -> str:
    """Return the name that runs are kept under: Metaflow refuses root, and a container may have nobody else."""
    return login if login not in ("", "root") else "marquee"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
