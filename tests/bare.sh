# shellcheck shell=bash
# A bare Debian in a folder, for `tests/fresh` and `deploy/try.sh`. Needs root and mmdebstrap. What this machine needs
# to reach the network goes along: apt's and pip's settings, proxies, certificates.

root= # of the bare Debian
known=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")

# make_bare RELEASE PACKAGES: into $root; it goes when the script ends. BARE_MIRROR: from there.
make_bare() {
	local folder options=() setting
	folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}" sipagent-fresh-XXXXXX)
	# shellcheck disable=SC2064 # this one
	trap "rm -rf --one-file-system '$folder'" EXIT
	root=$folder/root
	for setting in /etc/apt/apt.conf.d/*; do
		if grep -q '^Acquire::' "$setting" 2>/dev/null && ! grep -qE 'IndexTargets|Invoke' "$setting"; then # not a desktop's
			options+=(--aptopt="$setting")
		fi
	done
	echo "Making a bare $1"
	mmdebstrap --quiet --include="$2" "${options[@]}" "$1" "$root" ${BARE_MIRROR:+"$BARE_MIRROR"}
	carry /etc/resolv.conf /etc/hosts /etc/pip.conf
	carry_settings
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
