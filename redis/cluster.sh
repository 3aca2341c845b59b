#!/bin/sh
# Creates the Redis Cluster from the nodes in $NODES ("host:port host:port …"), and repairs it while it runs: nodes with a
# new address are introduced again, a replica follows its primary to a new address, a node that lost its data joins as a
# replica, and uncovered slots are assigned to a node. Needs redis-cli 7 or newer.
#   cluster.sh          runs until it is stopped
#   cluster.sh check    exit status 0 if all slots are covered, every primary has a replica and every node knows all others
set -u

log() { printf 'redis-cluster: %s\n' "$*"; }
ask() { node=$1; shift; timeout 3 redis-cli -h "${node%:*}" -p "${node##*:}" "$@" 2>/dev/null | tr -d '\r'; }
info() { ask "$1" cluster info | sed -n "s/^$2://p"; }
# CLUSTER MEET accepts only addresses, not host names
address() {
    case ${1%:*} in
        *[!0-9.]*) getent ahostsv4 "${1%:*}" | sed -n '1s/ .*//p' ;;
        *) printf '%s\n' "${1%:*}" ;;
    esac
}

are_all_up() {
    for n in $NODES; do [ "$(ask "$n" ping)" = PONG ] || return 1; done
}

# a node that answers and has joined a cluster
find_member() {
    for n in $NODES; do
        known=$(info "$n" cluster_known_nodes)
        [ "${known:-0}" -gt 1 ] && { printf '%s\n' "$n"; return; }
    done
    return 1
}

# $1 is a node's output of CLUSTER NODES: it has all nodes, each with an address and none failing
knows_all() {
    printf '%s\n' "$1" | grep -qE 'fail|noaddr|handshake' && return 1
    [ "$(printf '%s\n' "$1" | grep -c .)" = "$(printf '%s\n' $NODES | grep -c .)" ]
}

# the id of the primary of node $1, if the node tries to replicate from an address that is not its primary's in its view $2:
# Redis does not change the address from which it replicates when it learns the new address through gossip
missed_primary() {
    state=$(ask "$1" info replication)
    case $state in *master_link_status:down*) ;; *) return ;; esac
    from=$(printf '%s\n' "$state" | sed -n 's/^master_host://p'):$(printf '%s\n' "$state" | sed -n 's/^master_port://p')
    printf '%s\n' "$2" | awk -v from="$from" '{ sub(/@.*/, "", $2); address[$1] = $2 } $3 ~ /myself/ { primary = $4 }
        END { if (address[primary] ~ /^[^:]/ && address[primary] != from) print primary }'
}

is_whole() {
    [ "$(info "$1" cluster_state)" = ok ] && [ "$(info "$1" cluster_slots_assigned)" = 16384 ] || return 1
    # each node has its own view: after all have moved, only one of them may be up to date
    for n in $NODES; do
        view=$(ask "$n" cluster nodes)
        [ "$n" = "$1" ] || knows_all "$view" || return 1
        [ -z "$(missed_primary "$n" "$view")" ] || return 1
    done
    nodes=$(ask "$1" cluster nodes)
    knows_all "$nodes" || return 1
    # every primary with slots (from the ninth field on) has a connected replica (fourth field)
    printf '%s\n' "$nodes" | awk '$3 ~ /master/ && NF > 8 { p[$1] } $3 ~ /slave/ && $8 == "connected" { r[$4] }
        END { for (id in p) if (!(id in r)) exit 1 }'
}

create() {
    log "creating the cluster"
    addresses=
    for n in $NODES; do addresses="$addresses $(address "$n"):${n##*:}"; done
    # shellcheck disable=SC2086
    redis-cli --cluster create $addresses --cluster-replicas 1 --cluster-yes >/dev/null 2>&1 || log "cannot be created yet"
}

repair() {
    member=$1
    # Introduce every node to every other with its current address. A node that has another node's old address, which now
    # belongs to a third one, does not find the new address through gossip.
    for n in $NODES; do
        here=$(address "$n")
        for other in $NODES; do
            [ "$n" = "$other" ] || ask "$other" cluster meet "$here" "${n##*:}" >/dev/null
        done
    done
    sleep 1
    for n in $NODES; do
        primary=$(missed_primary "$n" "$(ask "$n" cluster nodes)")
        [ -n "$primary" ] || continue
        log "$n follows its primary $primary to its new address"
        ask "$n" cluster replicate "$primary" >/dev/null
    done
    # forget node ids that no longer exist, because the node lost its data
    if are_all_up; then
        alive=$(for n in $NODES; do ask "$n" cluster myid; done)
        # do not forget a node only because it did not answer in time
        [ "$(printf '%s\n' "$alive" | grep -c .)" = "$(printf '%s\n' $NODES | grep -c .)" ] || return
        # Each node has its own view: one may still know what the others have forgotten. The id of a node that is being
        # introduced is temporary.
        for id in $(for n in $NODES; do ask "$n" cluster nodes; done | awk '$3 !~ /handshake/ { print $1 }' | sort -u); do
            case $alive in *"$id"*) continue ;; esac
            log "forgetting $id"
            for n in $NODES; do ask "$n" cluster forget "$id" >/dev/null; done
        done
    fi
    # an empty primary becomes the replica of a primary without one
    nodes=$(ask "$member" cluster nodes)
    lonely=$(printf '%s\n' "$nodes" | awk '$3 ~ /master/ && $3 !~ /fail/ && NF > 8 { p[$1] } $3 ~ /slave/ && $3 !~ /fail/ { r[$4] }
        END { for (id in p) if (!(id in r)) print id }')
    for n in $NODES; do
        [ -n "$lonely" ] || break
        is_empty_primary "$n" || continue
        primary=$(printf '%s\n' "$lonely" | sed -n 1p)
        log "$n becomes a replica of $primary"
        [ "$(ask "$n" cluster replicate "$primary")" = OK ] && lonely=$(printf '%s\n' "$lonely" | sed 1d)
    done
    # uncovered slots, because their primary and its replicas all lost their data
    if are_all_up && [ "$(info "$member" cluster_slots_assigned)" != 16384 ]; then
        for n in $NODES; do
            is_empty_primary "$n" || continue
            # shellcheck disable=SC2046
            give "$n" $(free_slots "$member")
            return
        done
        # without an empty node, a primary gets them in addition
        for n in $NODES; do
            ask "$n" cluster nodes | grep myself | grep -q master || continue
            # shellcheck disable=SC2046
            give "$n" $(free_slots "$member")
            return
        done
    fi
}

is_empty_primary() { ask "$1" cluster nodes | grep myself | awk '$3 ~ /master/ && NF == 8 { found = 1 } END { exit !found }'; }

# the ranges of slots that no node claims, as "first last first last …"
free_slots() {
    ask "$1" cluster nodes | awk '{ for (i = 9; i <= NF; i++) if ($i !~ /^\[/) {
            split($i, ends, "-"); last = ends[2] == "" ? ends[1] : ends[2]
            for (slot = ends[1] + 0; slot <= last + 0; slot++) taken[slot] } }
        END { for (slot = 0; slot <= 16384; slot++) {
            is_free = slot < 16384 && !(slot in taken)
            if (is_free && first == "") first = slot
            if (!is_free && first != "") { printf "%d %d ", first, slot - 1; first = "" } } }'
}

give() {
    node=$1; shift
    [ $# -gt 0 ] || return
    log "$node gets the uncovered slots: $*"
    # a new epoch, so that this claim wins over older ones
    ask "$node" cluster bumpepoch >/dev/null
    ask "$node" cluster addslotsrange "$@" >/dev/null
}

if [ "${1:-}" = check ]; then
    for n in $NODES; do is_whole "$n" && exit 0; done
    exit 1
fi

trap 'exit 0' TERM INT
was_whole=
while :; do
    if member=$(find_member); then
        if is_whole "$member"; then
            [ -n "$was_whole" ] || log "the cluster is complete"
            was_whole=yes
            pause=3
        else
            [ -z "$was_whole" ] || log "the cluster is not complete"
            was_whole=
            pause=1
            repair "$member"
        fi
    else
        pause=0.5
        ! are_all_up || create
    fi
    sleep $pause &
    wait $!
done
