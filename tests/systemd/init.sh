#!/bin/bash
# The first process of the new namespaces: makes a root of its own in an empty directory, enters it,
# and becomes systemd. Nothing of the machine's own root is reachable afterwards but /usr (read-only).
#
# Usage: init.sh ROOT STAGE SYSTEMD_ARGUMENT...
set -eu
umask 022
root=$1 stage=$2
shift 2

# Before the first mount: nothing that is mounted here may be seen outside.
mount --make-rprivate /
mount -t tmpfs -o mode=0755,size=512m tmpfs "$root"
cd "$root"
mkdir -p usr etc var/lib var/log/journal run tmp dev proc sys root home old
chmod 1777 tmp
for name in bin sbin lib lib32 lib64; do
    if [ -L "/$name" ]; then cp -P "/$name" "$name"; fi
done
mount --rbind /usr usr
mount -o remount,bind,ro usr
# What `meson install` made: /usr/local over /usr/local, the rest into /etc.
mount --bind "$stage/usr/local" usr/local
cp -a "$stage/etc/." etc/

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=0755,size=4m tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs dev
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    read -r name major minor <<<"$node"
    mknod -m 0666 "dev/$name" c "$major" "$minor"
done
mkdir -p dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=1777,size=256m tmpfs dev/shm
mount -t tmpfs -o mode=0755,size=64m tmpfs run

pivot_root . old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=lanemap-test \
    /bin/bash -c 'umount -l /old && rmdir /old && exec /usr/lib/systemd/systemd "$@"' systemd "$@" \
    </dev/null >/dev/null
