#!/usr/bin/env bash
# What a newcomer does with the Debian package, in a bare Debian 13: install, init, check, the service's command, a call,
# list, export, backup, purge, restore, upgrade, going back, remove, purge. Then what differs where systemd runs. Each step
# looks at what came of it.
# usage: deploy/try.sh PACKAGE.deb    Needs root and mmdebstrap. BARE_MIRROR: Debian from there.
set -euo pipefail
package=$(realpath "$1")
cd "$(dirname "$0")/.."
# shellcheck source=tests/bare.sh
. tests/bare.sh
export LC_ALL=C.UTF-8
version=$(dpkg-deb --field "$package" Version)
older=0.0.1 newer=$version+1

make_bare trixie systemd,systemd-sysv,dbus,iproute2,procps
trial=$root/srv/try
mkdir -p "$trial" "$root/srv/sipagent"
cp deploy/try/* "$trial/"
cp "$package" "$trial/sipagent_${version}_amd64.deb"

# The same package under another version. `sipagent --version` says it, too, so that it shows which one runs.
# A newer one knows one more step for the database.
for one in "$older" "$newer"; do
	tree=$root/srv/tree
	dpkg-deb --raw-extract "$package" "$tree"
	packages=$(echo "$tree"/usr/lib/sipagent/lib/python3.*/site-packages)
	sed -i "s/^Version: .*/Version: $one/" "$tree/DEBIAN/control"
	sed -i "s/^__version__ = .*/__version__ = \"$one\"/" "$packages/sipagent/__init__.py"
	rm "$packages"/sipagent/__pycache__/__init__.*.pyc "$packages"/retention/__pycache__/sqlite.*.pyc
	if [ "$one" = "$newer" ]; then
		printf '\n\n_tried = {"9999_tried": lambda it: it.execute("CREATE TABLE tried (id INTEGER)")}\nSTEPS = Steps(STEPS.kind, {**STEPS.every, **_tried})\n' \
			>>"$packages/retention/sqlite.py"
	fi
	(cd "$tree" && find usr -type f -print0 | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
	dpkg-deb --root-owner-group -Znone --build "$tree" "$trial/sipagent_${one}_amd64.deb" >/dev/null
	rm -rf "$tree"
done

in_bare "apt-get update --quiet=2 && cd /srv/try && apt-get install --yes --quiet=2 --download-only ./sipagent_${older}_amd64.deb >/dev/null"
in_bare "exec bash /srv/try/steps.sh $older $version $newer" --net # a network of its own: addresses, and port 5060
boot_bare bash /srv/try/booted.sh "$older" "$version"
