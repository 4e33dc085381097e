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
cp deploy/try/{answers.toml,asked.py,call.py,units.sh} "$root/srv/try/"
cp "$package" "$root/srv/try/sipagent.deb"
# The network is there for apt alone: what boots has but a loopback.
in_bare 'export DEBIAN_FRONTEND=noninteractive && apt-get update --quiet=2 && apt-get install --yes --quiet=2 /srv/try/sipagent.deb >/dev/null'

boot_bare bash /srv/try/units.sh
