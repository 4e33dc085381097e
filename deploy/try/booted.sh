#!/usr/bin/env bash
# What apt does where systemd runs: Kamailio's service, and an upgrade in the middle of a call. As root of a bare Debian
# that has booted, and may be spoilt: see deploy/try.sh.
# usage: booted.sh OLDER VERSION     the packages in /srv/try, by their versions
set -euo pipefail
cd /srv/try
older=$1 version=$2
export DEBIAN_FRONTEND=noninteractive

step() { printf '\n=== %s s: %s\n' "$SECONDS" "$*"; }
fail() {
	printf 'try: FAILED: %s\n' "$*" >&2
	cat apt >&2
	journalctl --unit sipagent --no-pager --lines 20 >&2
	exit 1
}
same() { [ "$2" = "$3" ] || fail "$1 is ${2:-nothing}, not $3"; }
state() { echo "$(systemctl is-enabled "$1" 2>/dev/null || true) $(systemctl is-active "$1" || true)"; }
apt() { apt-get "$@" >apt 2>&1 </dev/null || fail "apt-get $*"; }
package() { echo "./sipagent_$1_amd64.deb"; }

apt purge --yes kamailio kamailio-tls-modules
rm -rf /etc/sipagent /var/lib/sipagent
for address in 192.0.2.10 192.0.2.20 192.0.2.30; do ip address replace $address/32 dev lo; done

step "an administrator's own Kamailio runs on, and that is said"
apt install --yes kamailio kamailio-tls-modules
same "Kamailio's service" "$(state kamailio)" 'enabled active'
apt install --yes "$(package "$older")"
same "Kamailio's service" "$(state kamailio)" 'enabled active'
grep -q '^sipagent: kamailio.service runs and stays as it is' apt || fail 'it does not say so'
apt purge --yes sipagent kamailio kamailio-tls-modules

step 'a Kamailio that comes along takes no port'
apt install --yes "$(package "$older")"
same "Kamailio's service" "$(state kamailio)" 'disabled inactive'
same 'the service' "$(state sipagent)" 'enabled inactive'
same 'the daily check' "$(state sipagent-check.timer)" 'enabled active'
same 'the page' "$(state sipagent-web)" 'disabled inactive'

step 'systemctl start'
sipagent init --answers answers.toml /etc/sipagent >/dev/null
sed -i "s/Agglo J.écoute/Allô Mairie/" /etc/sipagent/prompts/fr/*.txt # as if they had been recorded anew
systemctl start sipagent || fail 'the service does not start'
same 'the service' "$(state sipagent)" 'enabled active'
systemctl enable --now sipagent-web 2>/dev/null || fail 'the page does not start'

step 'an upgrade while two people talk: they end in peace, then the new version takes calls'
exec {said}< <(exec timeout 180 /usr/lib/sipagent/bin/python3 -P call.py 192.0.2.10:5060 8)
call=$!
until read -r -t 120 -u "$said" line || fail 'there is no call'; [ "$line" = 'they talk' ]; do :; done
apt install --yes "$(package "$version")"
wait "$call" || fail 'the call was cut off'
same 'the service' "$(state sipagent)" 'enabled active'
same 'the page' "$(state sipagent-web)" 'enabled active'
same 'the version' "$(sipagent --version)" "sipagent $version"
kept=$(runuser -u sipagent -- sipagent list --status closed --json | grep -c '"status": "closed"')
same 'how many recordings are kept' "$kept" 1

step 'apt remove, and install again'
apt remove --yes sipagent
same "what runs of it" "$(pgrep --count --uid sipagent || true)" 0
apt install --yes "$(package "$version")"
same 'the service' "$(state sipagent)" 'enabled active'
step 'So it does where systemd runs'
