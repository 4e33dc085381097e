#!/usr/bin/env bash
# What a newcomer does with the packages, as root of a bare Debian that may be spoilt: see deploy/try.sh.
# usage: steps.sh OLDER VERSION NEWER     the packages in /srv/try, by their versions
set -euo pipefail
cd /srv/try
older=$1 version=$2 newer=$3
config=/etc/sipagent/config.toml state=/var/lib/sipagent python=/usr/lib/sipagent/bin/python3
export DEBIAN_FRONTEND=noninteractive

step() { printf '\n=== %s s: %s\n' "$SECONDS" "$*"; }
fail() {
	printf 'try: FAILED: %s\n' "$*" >&2
	if [ -e log ]; then tail -n 20 log >&2; fi
	exit 1
}
same() { [ "$2" = "$3" ] || fail "$1 is ${2:-nothing}, not $3"; }
has() { grep -qF -- "$2" <<<"$1" || fail "this does not say '$2': $1"; }
there() { for path; do [ -s "$path" ] || fail "$path is gone"; done; }
gone() { for path; do [ ! -e "$path" ] || fail "$path is left"; done; }
ours() { runuser -u sipagent -- "$@"; }
package() { echo "./sipagent_$1_amd64.deb"; }
installed() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true; }
column() { "$python" -c 'import json, sys; print(*(row[sys.argv[1]] for row in json.load(sys.stdin)))' "$1"; }
install() { apt-get install --yes --quiet=2 "$@" >apt 2>&1 </dev/null || { cat apt >&2; return 1; }; }

# The unit's own command, as its user, told to as systemd does. Its log is in `log`.
start() {
	rm -f notify
	exec {said}< <(exec "$python" -P notified.py /srv/try/notify)
	listener=$!
	await LISTENING=1
	chown sipagent notify
	command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/sipagent.service)
	# shellcheck disable=SC2086 # as systemd splits it
	(cd / && NOTIFY_SOCKET=/srv/try/notify exec setpriv --reuid sipagent --regid sipagent --clear-groups $command) 2>log &
	service=$!
	await READY=1
}
await() { # a line that the service says, or its beginning
	while read -r -t 120 -u "$said" line; do
		if [[ $line == "$1"* ]]; then return; fi
	done
	fail "the service does not say $1"
}
stop() {
	kill -TERM "$service"
	await STOPPING=1
	wait "$service" || fail "the service ends with $?"
	exec {said}<&-
	kill "$listener"
}

# A network of its own, which it may have as it likes.
ip link set lo up
for address in 192.0.2.10 192.0.2.20 192.0.2.30; do ip address add $address/32 dev lo; done

step "apt install $(package "$older"): Kamailio comes along, user and folders are made"
install "$(package "$older")" || fail 'apt does not install it'
same 'the package' "$(installed sipagent)" installed
same "Kamailio's package" "$(installed kamailio)" installed
same /etc/sipagent "$(stat --format='%U:%G %a' /etc/sipagent)" 'root:sipagent 750'
same $state "$(stat --format='%U:%G %a' $state)" 'sipagent:sipagent 700'
same 'the version' "$(sipagent --version)" "sipagent $older"
[ ! -e /etc/systemd/system/multi-user.target.wants/kamailio.service ] || fail "Debian's Kamailio is enabled"
[ -e /etc/systemd/system/multi-user.target.wants/sipagent.service ] || fail 'the service is not enabled'
[ -e /etc/systemd/system/timers.target.wants/sipagent-check.timer ] || fail 'the daily check is not enabled'
[ ! -e /etc/systemd/system/multi-user.target.wants/sipagent-web.service ] || fail 'the page is enabled'
! pgrep -x kamailio >/dev/null || fail 'a Kamailio runs'
for file in /usr/share/man/man1/sipagent.1.gz /usr/share/man/man1/sipagent-export.1.gz \
	/usr/share/bash-completion/completions/sipagent /usr/share/zsh/vendor-completions/_sipagent \
	/usr/share/fish/vendor_completions.d/sipagent.fish /usr/share/doc/sipagent/sbom.cdx.json; do
	grep -qxF "$file" /var/lib/dpkg/info/sipagent.list || fail "the package lacks $file"
done
cat apt

step 'sipagent demo, as an ordinary user'
useradd --create-home visitor
(cd / && runuser -u visitor -- sipagent demo) || fail 'the demo has failed'

step 'init --answers: a configuration that says what was answered'
echo 'correct horse battery staple' >passphrase
sipagent init --answers answers.toml /etc/sipagent
mv /etc/sipagent/keys/recordings.key "$HOME/recordings.key" # to where people listen
same $config "$(stat --format='%U:%G %a' $config)" 'root:sipagent 640'
grep -q '^listen = "192.0.2.10:5060"' $config || fail "$config does not have the answers"

step 'check'
has "$(ours sipagent check)" 'the name that is shipped'
sed -i "s/Agglo J.écoute/Allô Mairie/" /etc/sipagent/prompts/fr/*.txt # as if they had been recorded anew, with these words
ours sipagent check || fail 'check finds an error'

step "the service's command as its user: READY=1 when calls can come"
start
pgrep -u sipagent -x kamailio >/dev/null || fail 'no Kamailio of ours stands in front'

step 'a call by the softphone'
timeout 180 "$python" -P call.py 192.0.2.10:5060 || fail 'the call did not go as it must'
await 'STATUS=0 calls'
! grep -F +33612345678 log || fail "the log has a caller's number"

step 'list: one recording'
ours sipagent list
same 'what is kept' "$(ours sipagent list --json | column status)" closed
id=$(ours sipagent list --json | column id)

step 'export, with the private key'
cp "$HOME/recordings.key" passphrase $state/ && chown sipagent $state/recordings.key $state/passphrase
ours sipagent export "${id##*-}" --purpose quality --by 'A newcomer' --out $state/call.wav \
	--identity $state/recordings.key --passphrase-file $state/passphrase
"$python" -P heard.py $state/call.wav || fail 'the recording does not hold the call'
rm $state/recordings.key $state/passphrase $state/call.wav
has "$(ours sipagent accesses --json)" 'A newcomer'

step 'backup, while it runs'
mkdir -m 0700 /var/backups/sipagent && chown sipagent: /var/backups/sipagent
ours sipagent backup /var/backups/sipagent
kept=$(echo /var/backups/sipagent/sipagent-*)

step 'purge: what has expired goes; here as if it were in eight months'
has "$(ours sipagent purge --now "$(date --utc --date='8 months' +%F)" --dry-run)" "$id"
ours sipagent purge --now "$(date --utc --date='8 months' +%F)" --force --by 'A newcomer'
same 'what is kept' "$(ours sipagent list --status closed --json | column status)" ''
! ls $state/recordings/"$id"* 2>/dev/null || fail 'the sound is still there'

step 'restore, into an empty place'
stop
rm -rf "${state:?}"/*
ours sipagent restore --clock-ok --by 'A newcomer' "$kept"
same 'what is kept' "$(ours sipagent list --json | column status)" closed
ours sipagent verify || fail 'what was restored is not what was kept'

step "apt install $(package "$version"): the upgrade"
start
! install "$(package "$version")" 2>apt-refused || fail 'its files were replaced while it runs'
has "$(cat apt-refused)" 'sipagent: still runs, as process'
same 'the version' "$(sipagent --version)" "sipagent $older"
stop
install "$(package "$version")" || fail 'apt does not upgrade it'
same 'the version' "$(sipagent --version)" "sipagent $version"
same 'what is kept' "$(ours sipagent list --json | column id)" "$id"
start
timeout 180 "$python" -P call.py 192.0.2.10:5060 || fail 'no call after the upgrade'
await 'STATUS=0 calls'
stop
same 'how much is kept' "$(ours sipagent list --json | column status)" 'closed closed'

step "apt install $(package "$newer"): one that changes the database"
steps() { "$python" -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("select count(*) from _sqlite_migrations where name like \"9999%\"").fetchone()[0])' $state/retention.db; }
same 'the step' "$(steps)" 0
install "$(package "$newer")" || fail 'apt does not upgrade it'
same 'the step' "$(steps)" 1
same 'the owner of the database' "$(stat --format=%U $state/retention.db)" sipagent
same 'how much is kept' "$(ours sipagent list --json | column status)" 'closed closed'

step "apt install $(package "$version"): going back says what is wrong, in one line"
! install --allow-downgrades "$(package "$version")" 2>apt-refused || fail 'an older program took a newer database'
has "$(cat apt-refused)" 'written by a newer sipagent'
has "$(cat apt-refused)" 'sipagent: the database is not ready, so no calls are taken'
install "$(package "$newer")" || fail 'the way forward does not mend it'
same 'how much is kept' "$(ours sipagent list --json | column status)" 'closed closed'

step 'apt remove: configuration and recordings stay'
apt-get remove --yes --quiet=2 sipagent >/dev/null
gone /usr/bin/sipagent /usr/lib/sipagent
there $config $state/retention.db

step 'apt purge, nobody answers: it keeps them, and says where'
said=$(apt-get purge --yes --quiet=2 sipagent 2>&1 </dev/null)
has "$said" "sipagent: kept: configuration and keys in /etc/sipagent, recordings"
there $config $state/retention.db
install "$(package "$version")" 2>/dev/null || true # on a newer database
install "$(package "$newer")" || fail 'it cannot be installed again'
same 'how much is kept' "$(ours sipagent list --json | column status)" 'closed closed'

step 'apt purge, told to erase'
echo 'sipagent sipagent/erase boolean true' | debconf-set-selections
apt-get purge --yes --quiet=2 sipagent >/dev/null 2>&1
gone /etc/sipagent $state
step 'All of it went well'
