#!/bin/sh
# Fetch what pages are drawn with and judged by, as package-lock.json pins it, and put what browsers load beside our own
# static files. Nothing that a package brings is run.
set -eu

vendor=$1

if ! command -v npm >/dev/null 2>&1; then
    echo "npm is missing (Debian: apt-get install npm)" >&2
    exit 1
fi
npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1 --loglevel=error >/dev/null
mkdir -p "$vendor"
cp node_modules/chart.js/dist/chart.umd.min.js "$vendor/"
cp node_modules/chart.js/LICENSE.md "$vendor/chart.LICENSE.md"
