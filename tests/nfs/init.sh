#!/bin/sh
# The first process of a machine, by the words of the kernel's command line:
#   role=server|client  host=NAME  address=IP
#   modules=DIRECTORY   of the host, as the three others: source= packages= site=
# A server exports the disk /dev/ubdb; a client takes orders by ssh.
set -ex
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
    case $word in
    role=* | host=* | address=* | modules=* | source=* | packages=* | site=*) eval "$word" ;;
    esac
done
show() { # a directory of the host, that it cannot change
    mkdir -p "$2"
    mount -r -t hostfs -o "$1" hostfs "$2"
}
hostname "$host"
mount -t sysfs sysfs /sys
for directory in /run /mnt /opt /tmp; do mount -t tmpfs tmpfs "$directory"; done
mkdir -p /dev/shm /run/sshd
mount -t tmpfs tmpfs /dev/shm
show "$modules" /lib/modules
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
case $role in
server)
    mount /dev/ubdb /srv
    mkdir -p /srv/export
    # What the server remembers of its clients survives a power cut, as on a machine with a disk.
    [ -d /srv/nfs ] || cp -a /var/lib/nfs /srv/nfs
    mount --bind /srv/nfs /var/lib/nfs
    modprobe nfsd
    mount -t nfsd nfsd /proc/fs/nfsd
    # Instead of 90 s: so long clients wait after a crash of the server.
    echo 15 >/proc/fs/nfsd/nfsv4leasetime
    echo 15 >/proc/fs/nfsd/nfsv4gracetime
    exportfs -i -o rw,sync,no_root_squash,no_subtree_check,fsid=0 '*:/srv/export'
    rpc.mountd --no-nfs-version 3
    rpc.nfsd --no-nfs-version 3 8
    while :; do sleep 1000; done
    ;;
client)
    show "$source" /opt/source
    show "$packages" /opt/packages
    show "$site" /opt/site
    exec /usr/sbin/sshd -De -o AuthorizedKeysFile=/opt/site/key.pub -o StrictModes=no -o UsePAM=no
    ;;
esac
