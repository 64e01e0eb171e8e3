#!/bin/sh
# Makes a virtual environment from a lock: install.sh PYTHON VENV LOCK
# Everything is pinned by hash: the installer and the build backend in deploy/bootstrap.lock, the rest in LOCK.
set -eu
python=$1 venv=$2 lock=$3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Marquee needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing into $venv, once for each change of $lock" >&2
pip="$venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes"
[ -x "$venv/bin/uv" ] || $pip --upgrade -r deploy/bootstrap.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$lock"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e .
