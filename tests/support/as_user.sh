#!/bin/sh
# as_user.sh PATH… -- COMMAND…
#
# Runs COMMAND as an ordinary user, who can reach the PATHs. Whoever is one already just runs it. Root becomes uid 65534 in
# a mount namespace of its own, in which a directory that is closed to others (/root, for one) is replaced by an empty
# one that holds no more than the PATHs.
set -eu

if [ "$(id -u)" != 0 ]; then
    while [ "$1" != -- ]; do shift; done
    shift
    exec "$@"
fi
if [ "${AS_USER_UNSHARED:-}" != yes ]; then
    AS_USER_UNSHARED=yes exec unshare --mount --propagation private sh "$0" "$@"
fi
unset AS_USER_UNSHARED

# The outermost directory above $1 that others cannot enter.
closed_above() {
    path= rest=${1#/}
    while [ "${rest#*/}" != "$rest" ]; do
        path=$path/${rest%%/*} rest=${rest#*/}
        case $(stat -c %A "$path") in
        *x | *t) ;;
        *) echo "$path" && return ;;
        esac
    done
}

held=/mnt count=0 paths=
mount -t tmpfs -o mode=0755 tmpfs $held
while [ "$1" != -- ]; do
    closed=$(closed_above "$1")
    if [ -n "$closed" ]; then
        count=$((count + 1))
        mkdir $held/$count && mount --rbind "$1" $held/$count
        paths="$paths $1" covered="${covered:-} $closed"
    fi
    shift
done
shift
for closed in ${covered:-}; do
    # Two paths may lie below the same one.
    mountpoint -q "$closed" || mount -t tmpfs -o mode=0755 tmpfs "$closed"
done
count=0
for path in $paths; do
    count=$((count + 1))
    mkdir -p "$path" && mount --rbind $held/$count "$path"
done

# Where Flyte keeps what a local run returns; another user's is closed to this one.
mkdir -p /tmp/flyte && mount -t tmpfs -o mode=1777 tmpfs /tmp/flyte
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
