#!/usr/bin/env bash
# What the units do under a real systemd, in a Debian 13 that boots in namespaces: the service starts as hardened as it
# is shipped, takes a call, reloads, outlives its supervisor and is watched; the daily check tells what it finds.
# usage: deploy/try-units.sh [PACKAGE.deb]    Needs root and mmdebstrap. BARE_MIRROR: Debian from there.
set -euo pipefail
folder=$(dirname "$0")
package=$(realpath "${1:-"$(echo "$folder"/../dist/sipagent_*_amd64.deb)"}")
cd "$folder/.."
# shellcheck source=tests/bare.sh
. tests/bare.sh
export LC_ALL=C.UTF-8

make_bare trixie systemd,systemd-sysv,dbus,iproute2,procps
mkdir -p "$root/srv/sipagent" "$root/srv/try"
cp deploy/try/{answers.toml,call.py,units.sh} "$root/srv/try/"
cp "$package" "$root/srv/try/sipagent.deb"
# The network is there for apt alone: what boots has but a loopback.
in_bare 'export DEBIAN_FRONTEND=noninteractive && apt-get update --quiet=2 && apt-get install --yes --quiet=2 /srv/try/sipagent.deb >/dev/null'

# systemd wants a cgroup of its own, devices of its own, and to change nothing of the kernel's.
groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
group=$groups/sipagent-try-$$
mkdir "$group"
booted=
finish() {
	[ -z "$booted" ] || kill -KILL "$booted" 2>/dev/null || true
	while grep -q 'populated 1' "$group/cgroup.events"; do sleep 0.1; done
	find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	rm -rf --one-file-system "$(dirname "$root")"
}
trap finish EXIT
export root group
# shellcheck disable=SC2016 # the inner shell's
bash -c 'echo $$ >"$group/cgroup.procs" && exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child bash -c '\''
	set -e
	ip link set lo up
	mount --make-rprivate /
	mount --bind "$root" "$root"
	mount -t proc proc "$root/proc"
	mount --bind "$root/proc/sys" "$root/proc/sys"
	mount -o remount,bind,ro "$root/proc/sys"
	mount -t sysfs -o ro sysfs "$root/sys"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
	for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
	chmod 1777 "$root/tmp"
	for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"; done
	mknod -m 666 "$root/dev/tty" c 5 0
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	mount -t tmpfs tmpfs "$root/dev/shm"
	cd "$root"
	pivot_root . mnt
	umount -l /mnt
	exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /sbin/init
'\''' </dev/null >/dev/null 2>&1 &
booted=$!
disown # its end is not worth a word
for _ in {1..100}; do
	init=$(pgrep --parent "$booted" || true)
	if [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]; then break; fi
	sleep 0.1
done
[ -n "$init" ] || { echo 'try-units: nothing has booted' >&2; exit 1; }
nsenter --target "$init" --all --wdns=/ env -i "${known[@]}" bash /srv/try/units.sh
