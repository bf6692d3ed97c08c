#!/bin/sh
# Install the programs that tests marked `peers` run, or with the word `lab` only those that a lab runs:
# what is there already is left alone.
set -eu

# program:Debian package; a path where the program is not on any PATH
engines="ip:iproute2 tc:iproute2 clickhouse-server:clickhouse-server redis-server:redis-server
         redis-sentinel:redis-sentinel java:default-jre-headless
         /usr/share/zookeeper/bin/zkServer.sh:zookeeper /usr/share/java/slf4j-simple.jar:libslf4j-java
         nginx:nginx /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
         /usr/lib/nginx/modules/ngx_stream_js_module.so:libnginx-mod-stream-js
         haproxy:haproxy keepalived:keepalived"
others="sipp:sip-tester kamailio:kamailio sngrep:sngrep tshark:tshark tcpdump:tcpdump
        chromium:chromium chromedriver:chromium-driver npm:npm"
# systemd units that these packages bring
units="kamailio clickhouse-server redis-server redis-sentinel zookeeper nginx haproxy keepalived"

peers="$engines"
[ "${1:-}" = lab ] || peers="$engines $others"

PATH="$PATH:/usr/sbin:/sbin" # Servers are there, and not on a plain user's PATH.
wanted=""
for peer in $peers; do
    package="${peer##*:}"
    command -v "${peer%:*}" >/dev/null 2>&1 || [ -f "${peer%:*}" ] || case " $wanted " in
        *" $package "*) ;;
        *) wanted="$wanted $package" ;;
    esac
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

# Debian starts a server as it installs one; tests and labs run their own. A mask keeps it from being started at all,
# and is taken away again so that nothing stays changed but that it is off. Units that were there are left alone.
masked=""
mask() {
    [ -d /run/systemd/system ] || return 0
    for unit in $units; do
        systemctl cat "$unit.service" >/dev/null 2>&1 || masked="$masked $unit.service"
    done
    # shellcheck disable=SC2086 # A list of words.
    [ -z "$masked" ] || $as_root systemctl mask --quiet --runtime $masked
}
unmask() {
    [ -n "$masked" ] || return 0
    # shellcheck disable=SC2086 # A list of words.
    $as_root systemctl unmask --quiet --runtime $masked
    for unit in $masked; do
        systemctl cat "$unit" >/dev/null 2>&1 && $as_root systemctl disable --quiet "$unit" 2>/dev/null || true
    done
    masked=""
}
trap unmask EXIT

install_wanted() {
    # `env` on the inner side: sudo would drop the variable.
    # shellcheck disable=SC2086 # Both are lists of words.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted
}

# A fresh image has no package lists, an old one may have stale ones: fetch them only when the first try fails.
echo "install-peers: installing$wanted"
mask
if ! install_wanted; then
    $as_root apt-get update
    install_wanted
fi
