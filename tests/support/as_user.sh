#!/bin/sh
# as_user.sh PATH… -- COMMAND…
#
# Runs COMMAND as an ordinary user who can reach the PATHs. An ordinary user just runs it. Root becomes uid 65534 in a
# private mount namespace, in which a directory that is closed to others (such as /root) is replaced by an empty
# directory that holds only the PATHs.
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

# Prints the outermost directory above $1 that others cannot enter.
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
    # Two paths may be below the same directory.
    mountpoint -q "$closed" || mount -t tmpfs -o mode=0755 tmpfs "$closed"
done
count=0
for path in $paths; do
    count=$((count + 1))
    mkdir -p "$path" && mount --rbind $held/$count "$path"
done

# Flyte keeps the results of local runs here; another user's directory is closed to this one.
mkdir -p /tmp/flyte && mount -t tmpfs -o mode=1777 tmpfs /tmp/flyte
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
