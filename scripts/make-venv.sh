#!/usr/bin/env bash
# Make the virtual environment. Debian ships Python without venv: fetch that package if we may, say so if not.
set -euo pipefail

python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Everline needs Python 3.11 or later; '$python' is not that. Name another: make PYTHON=python3.12 demo" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    echo "Python has no venv module; installing $package …"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "not root and no sudo: run 'apt-get install $package' as root, then try again" >&2
        exit 1
    fi
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$package"
fi
"$python" -m venv "$venv"
