#!/bin/sh
# Derives nginx.conf for a pod from the one that compose.yaml mounts, by substitutions.
#   render.sh SOURCE TARGET [RESOLV_CONF]    with WORKERS, and REQUEST_LOG if `desk` counts and truncates the request log
set -eu

resolv=${3:-/etc/resolv.conf}
server=$(awk '$1 == "nameserver" { print $2; exit }' "$resolv")
# nginx' resolver does not use the search list, whose first entry is the namespace's domain
domain=$(awk '$1 == "search" || $1 == "domain" { print $2; exit }' "$resolv")
case $server in *:*) server="[$server]" ;; esac
log="/^ *access_log \/var\/log\/gateway\/requests.log /d"
[ -z "${REQUEST_LOG:-}" ] || log="s|/var/log/gateway/requests.log|$REQUEST_LOG|"

# resolves every 5 s, so a changed address is known within 10 s
sed -e "s|resolver 127.0.0.11 valid=1s|resolver $server valid=5s|" \
    -e "s|server todo:8000 resolve|server todo.$domain:8000 resolve|" \
    -e "s|worker_processes auto;|worker_processes $WORKERS;|" \
    -e "$log" "$1" > "$2"
