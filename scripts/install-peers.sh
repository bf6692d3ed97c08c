#!/bin/sh
# Install the programs that tests marked `peers` run: what is there already is left alone.
set -eu

# program:Debian package
peers="sipp:sip-tester kamailio:kamailio sngrep:sngrep tshark:tshark tcpdump:tcpdump
       chromium:chromium chromedriver:chromium-driver"

PATH="$PATH:/usr/sbin:/sbin" # Kamailio is there, and not on a plain user's PATH.
wanted=""
for peer in $peers; do
    command -v "${peer%%:*}" >/dev/null 2>&1 || wanted="$wanted ${peer##*:}"
done
if [ -z "$wanted" ]; then
    echo "install-peers: all present"
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "install-peers: missing:$wanted; there is no apt-get here, install them by your system's own means" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "install-peers: missing:$wanted; run this script as root, or install sudo" >&2
        exit 1
    fi
    as_root="sudo"
fi

install_wanted() {
    # `env` on the inner side: sudo would drop the variable.
    # shellcheck disable=SC2086 # Both are lists of words.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted
}

# A fresh image has no package lists, an old one may have stale ones: fetch them only when the first try fails.
echo "install-peers: installing$wanted"
if ! install_wanted; then
    $as_root apt-get update
    install_wanted
fi

# Debian starts a server as it installs one; the tests run their own, on loopback only.
case "$wanted" in
    *kamailio*) [ ! -d /run/systemd/system ] || $as_root systemctl disable --now kamailio ;;
esac
