#!/bin/sh
# Installs what the tests need beside Python on a Debian machine; does nothing where it is there already.
# Servers are installed without being started, and PostgreSQL without a cluster: `make engines-up` runs its own.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }
has_postgres() { has postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
has_chromium() { has chromium || has chromium-browser || has google-chrome; }
has_java() { has java && java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])'; }

missing=
has_chromium || missing="$missing chromium"
has redis-server || missing="$missing redis-server"
has_java || missing="$missing java"
has mvn || missing="$missing maven"
has_postgres || missing="$missing postgresql"
has promtool || missing="$missing prometheus"
has node || missing="$missing nodejs"
has npm || missing="$missing npm"
[ -n "$missing" ] || exit 0

has apt-get || { echo "This is no Debian machine; install by hand:$missing" >&2; exit 1; }
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then # while this file says no, packages start no services
    trap '$as_root rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
fi
$as_root apt-get update -qq
for package in $missing; do
    case $package in
    java) # 17 is what Cassandra 5 is made for; a newer Debian has only a newer one
        if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
            install openjdk-17-jre-headless
        else
            install default-jre-headless
        fi
        ;;
    postgresql)
        install postgresql-common
        $as_root sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        install postgresql
        ;;
    *) install "$package" ;;
    esac
done
