# rendered from calls — change cluster.yaml, not this file
# check.sh ADDRESS PORT PATH: whether GET PATH is answered with 200, three times in three quarters of a second.
#
# Between two questions the connection stays open: it ends the moment a process is killed, and the next question, asked
# at once, finds nobody. So one short program a second sees an end in milliseconds. One that is hung takes 0.3 s to see.

ask() {
    { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.1\r\nHost: everline\r\n\r\n' "$3" >&3
    read -r -t 0.3 _ status _ <&3 && [ "$status" = 200 ] || return 1
    while read -r -t 0.25 _ <&3; do :; done
    exec 3>&-
}

ask "$@" && ask "$@" && ask "$@"
