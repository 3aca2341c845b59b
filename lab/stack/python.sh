#!/bin/sh
# Prints the Python with which .venv is created: from 3.11 on and with the module venv. Fails with a line on stderr if there
# is none.
#   python.sh [PYTHON]    only this one
set -eu

reason() {
    command -v "$1" >/dev/null 2>&1 || { echo "$1 is not installed"; return; }
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$1 is older"; return; }
    "$1" -c 'import ensurepip, venv' 2>/dev/null || echo "$1 has no venv (install the package $1-venv)"
}

reasons=
for python in ${1:-python3 python3.14 python3.13 python3.12 python3.11}; do
    why=$(reason "$python")
    if [ -z "$why" ]; then
        echo "$python"
        exit 0
    fi
    reasons="${reasons:-$why}"
done
echo "environment: needs Python 3.11 or newer, but $reasons: name another, as in \`make PYTHON=python3.11 native\`" >&2
exit 2
