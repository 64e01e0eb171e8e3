#!/bin/sh
# Installs what the tests need beside Python on a Debian machine; does nothing where it is there already.
set -eu
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || {
    command -v apt-get >/dev/null 2>&1 || { echo "Chromium is missing and this is no Debian machine: install it by hand" >&2; exit 1; }
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
}
