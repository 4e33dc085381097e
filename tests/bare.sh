# shellcheck shell=bash
# A bare Debian in a folder, for `tests/fresh` and `deploy/try.sh`. Needs root and mmdebstrap. What this machine needs
# to reach the network goes along: apt's and pip's settings, proxies, certificates.

root= # of the bare Debian
known=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")

# make_bare RELEASE PACKAGES: into $root; it goes when the script ends. BARE_MIRROR: from there.
make_bare() {
	local folder
	folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}" sipagent-fresh-XXXXXX)
	# shellcheck disable=SC2064 # this one
	trap "rm -rf --one-file-system '$folder'" EXIT
	root=$folder/root
	bootstrap "$1" "$root" --include="$2"
	carry /etc/resolv.conf /etc/hosts /etc/pip.conf
	carry_settings
}

# bootstrap RELEASE FOLDER [OPTION…]: of mmdebstrap, with apt's settings of this machine
bootstrap() {
	local release=$1 folder=$2 options=() setting
	shift 2
	for setting in /etc/apt/apt.conf.d/*; do
		if grep -q '^Acquire::' "$setting" 2>/dev/null && ! grep -qE 'IndexTargets|Invoke' "$setting"; then # not a desktop's
			options+=(--aptopt="$setting")
		fi
	done
	echo "Making a bare $release"
	mmdebstrap --quiet "$@" "${options[@]}" "$release" "$folder" ${BARE_MIRROR:+"$BARE_MIRROR"}
}

# carry PATH…: a file or folder of this machine's to the same place
carry() {
	local path
	for path; do
		if [ -e "$path" ]; then mkdir -p "$root$(dirname "$path")" && cp -RL "$path" "$root$path"; fi
	done
}

carry_settings() {
	local name value
	while IFS='=' read -r name value; do
		case $name in
		PIP_FIND_LINKS) ;; # folders of this machine
		*_[Pp][Rr][Oo][Xx][Yy] | PIP_* | UV_* | *CERT* | *CA_BUNDLE*)
			if [ -f "$value" ]; then # apart: Debian's ca-certificates writes its own in the same place
				mkdir -p "$root/etc/fresh" && cp -L "$value" "$root/etc/fresh/$name" && value=/etc/fresh/$name
			fi
			known+=("$name=$value") ;;
		esac
	done < <(env)
}

# in_bare COMMAND [OPTION…]: of unshare, such as --net. The mounts are seen by these processes alone, and end with
# them. $python, where set, is a prefix that is mounted at its own place.
in_bare() {
	local command=$1
	shift
	export root python=${python-}
	# shellcheck disable=SC2016 # the inner shell's
	unshare --mount --pid --fork --kill-child "$@" bash -c '
		set -e
		mount --bind "$root" "$root"
		[ -z "$python" ] || { mount --bind "$python" "$root$python"; mount -o remount,bind,ro "$root$python"; }
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		mount -t tmpfs tmpfs "$root/run"
		cd "$root"
		pivot_root . mnt # not chroot, in which nobody may have namespaces
		command=$1
		shift
		exec /usr/bin/env -i "$@" sh -c "umount -l /mnt && cd /srv/sipagent && $command"
	' bare "$command" "${known[@]}"
}

# boot_bare COMMAND…: have systemd start what is in $root, and run a command beside it. Its network is a loopback alone.
# systemd wants a cgroup of its own, devices of its own, and to change nothing of the kernel's.
boot_bare() {
	local groups init='' one
	groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
	group=$groups/sipagent-try-$$
	mkdir "$group"
	booted=
	trap end_booted EXIT
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
	for one in {1..100}; do
		init=$(pgrep --parent "$booted" || true)
		if [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]; then break; fi
		sleep 0.1
	done
	[ -n "$init" ] || { echo "nothing has booted after $one looks" >&2; return 1; }
	nsenter --target "$init" --all --wdns=/ env -i "${known[@]}" "$@"
}
end_booted() {
	[ -z "$booted" ] || kill -KILL "$booted" 2>/dev/null || true
	while grep -q 'populated 1' "$group/cgroup.events"; do sleep 0.1; done
	find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	rm -rf --one-file-system "$(dirname "$root")"
}
