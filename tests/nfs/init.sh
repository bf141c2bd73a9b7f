#!/bin/sh
# The first and only service of a machine, by the words of the kernel's command line:
#   role=server|client  host=NAME  address=IP
# A server exports the disk /dev/vdb; a client has our code on it, and takes orders by ssh.
set -ex
for word in $(cat /proc/cmdline); do
    case $word in role=* | host=* | address=*) eval "$word" ;; esac
done
hostname "$host"
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/rpc_pipefs
modprobe -a virtio_net ext4
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
case $role in
server)
    mount /dev/vdb /srv
    mkdir -p /srv/export
    # What the server remembers of its clients survives a power cut, as on a machine with a disk.
    [ -d /srv/nfs ] || cp -a /var/lib/nfs /srv/nfs
    mount --bind /srv/nfs /var/lib/nfs
    modprobe nfsd
    mount -t nfsd nfsd /proc/fs/nfsd
    mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
    nfsdcld
    # Of the default of 90 s: clients wait as long after a crash of the server.
    echo 15 >/proc/fs/nfsd/nfsv4leasetime
    echo 15 >/proc/fs/nfsd/nfsv4gracetime
    exportfs -i -o rw,sync,no_root_squash,no_subtree_check,fsid=0 '*:/srv/export'
    rpc.nfsd --no-nfs-version 3 8
    rpc.mountd --no-nfs-version 3
    echo ready
    while :; do sleep 1000; done
    ;;
client)
    mount -o ro /dev/vdb /opt
    exec /usr/sbin/sshd -De -o AuthorizedKeysFile=/opt/key.pub -o UsePAM=no -o UseDNS=no \
        -o MaxStartups=100 -o MaxSessions=100
    ;;
esac
