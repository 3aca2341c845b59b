#!/bin/sh
# Installs the programs that the native stack needs, from the distribution's packages (from Debian 12 and Ubuntu 24.04
# on). Prints what it installs, uses sudo if it is not root, and prevents the packages from starting daemons.
#   install.sh [PACKAGE...]    additional packages, for the tests
#   install.sh --python        only Python, also on Ubuntu 22.04
set -eu

need=
want() { command -v "$1" >/dev/null 2>&1 || [ -x "${3:-/nonexistent}" ] || need="$need $2"; }
if [ "${1:-}" = --python ]; then
    shift
else
    want redis-server redis-server
    want redis-cli redis-tools
    want nginx nginx /usr/sbin/nginx
    want prometheus prometheus
    want prometheus-alertmanager prometheus-alertmanager
    want prometheus-redis-exporter prometheus-redis-exporter
    want prometheus-nginx-exporter prometheus-nginx-exporter
    want prometheus-postgres-exporter prometheus-postgres-exporter
    want prometheus-node-exporter prometheus-node-exporter
    want prometheus-process-exporter prometheus-process-exporter
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || need="$need postgresql"
fi
# shellcheck disable=SC2086
"$(dirname "$0")/python.sh" ${PYTHON:-} >/dev/null 2>&1 || need="$need python3-venv"
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || need="$need $package"
done
[ -n "$need" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "install: this machine has no apt-get; install by hand:$need" >&2
    exit 2
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "install: needs root or sudo to install:$need" >&2; exit 2; }
    as_root=sudo
fi
echo "install: from the distribution's packages (one to two minutes):$need"
$as_root apt-get update -qq

# whether a needed package is older here than a version
is_old() {
    case " $need " in *" $1 "*) ;; *) return 1 ;; esac
    candidate=$(apt-cache policy "$1" | sed -n 's/^ *Candidate: //p')
    [ "$candidate" != "(none)" ] && dpkg --compare-versions "$candidate" lt "$2"
}
for oldest in redis-server:5:6.2 prometheus:2.33; do
    if is_old "${oldest%%:*}" "${oldest#*:}"; then
        echo "install: ${oldest%%:*} is $candidate in this distribution, and the native stack needs ${oldest##*:}: use Docker (make up), or Debian 12 or Ubuntu 24.04" >&2
        exit 2
    fi
done

# Packages must not start daemons during their installation, because these would use the stack's ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    trap '$as_root rm -f $policy' EXIT
fi
# PostgreSQL's package must not create a database cluster
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
# Ubuntu has Chromium only as a snap: browser tests are then skipped, unless Chromium is already installed
for package in "$@"; do
    apt-cache show "$package" >/dev/null 2>&1 && continue
    echo "install: this distribution has no package $package: tests that need it are skipped"
    need=$(printf ' %s ' "$need" | sed "s/ $package / /")
done
# Ubuntu 22.04 has 3.10 as python3, and 3.11 as another package
if apt-cache show python3 2>/dev/null | grep -Eq '^Version: 3\.([0-9]|10)\.'; then
    need=$(printf '%s ' "$need" | sed 's/ python3-venv / python3.11-venv /')
fi
# the output of the packages' scripts is only shown if one of them fails
output=$(mktemp)
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >"$output" 2>&1 ||
    { cat "$output" >&2; rm -f "$output"; exit 1; }
rm -f "$output"
# prevents daemons from starting at the next boot
if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
    for unit in redis-server nginx prometheus prometheus-alertmanager prometheus-redis-exporter \
        prometheus-nginx-exporter prometheus-postgres-exporter prometheus-node-exporter \
        prometheus-process-exporter pgbouncer; do
        case " $need " in *" $unit "*) $as_root systemctl disable --quiet "$unit" 2>/dev/null || true ;; esac
    done
fi
