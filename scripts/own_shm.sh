#!/bin/sh
# own_shm.sh COMMAND...: runs the command with a /dev/shm of its own, so that runs side by side which look there for
# what was left do not see each other's files. Exit status 1 if the command leaves a file there, 125 without running it
# where this machine lets nobody mount.
if [ "${1-}" != --mounted ]; then
    unshare --mount true 2>/dev/null || exit 125
    exec unshare --mount "$0" --mounted "$@"
fi
shift
mount -t tmpfs tmpfs /dev/shm 2>/dev/null || exit 125
"$@"
status=$?
for file in /dev/shm/*; do
    [ -e "$file" ] || continue
    echo "left behind: $file" >&2
    status=1
done
exit "$status"
