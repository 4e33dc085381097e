#!/usr/bin/env bash
# What the units do, as root of a Debian that runs systemd and may be spoilt: see deploy/try-units.sh.
set -euo pipefail
cd /srv/try
config=/etc/sipagent/config.toml python=/usr/lib/sipagent/bin/python3

step() { printf '\n=== %s\n' "$*"; }
fail() {
	printf 'try-units: FAILED: %s\n' "$*" >&2
	systemctl --no-pager status sipagent | head -n 20 >&2 || true
	journalctl --no-pager --lines=30 --output=cat -u sipagent >&2
	exit 1
}
shown() { systemctl show --property "$1" --value "${2:-sipagent}"; }
same() { [ "$2" = "$3" ] || fail "$1 is ${2:-nothing}, not $3"; }
until_said() { # UNIT WORDS: in the journal, since the step began
	for _ in {1..300}; do
		if journalctl --quiet --no-pager --output=cat --since "@$since" --identifier "$1" | grep -qF -- "$2"; then return; fi
		sleep 0.1
	done
	fail "$1 does not say '$2'"
}
until_status() { # PATTERN
	for _ in {1..300}; do
		# shellcheck disable=SC2053 # a pattern
		if [[ $(shown StatusText) == $1 ]]; then return; fi
		sleep 0.1
	done
	fail "the status is '$(shown StatusText)', not '$1'"
}
begin() { since=$(date +%s) && step "$@"; }
call() { timeout 180 "$python" -P call.py 192.0.2.10:5060 "$@" | tee said; }
talking() {
	for _ in {1..900}; do if grep -qs 'they talk' said; then return; fi && sleep 0.1; done
	fail 'nobody talks'
}

for _ in {1..300}; do # until systemd answers at all
	if systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; then break; fi
	sleep 0.1
done
for address in 192.0.2.10 192.0.2.20 192.0.2.30; do ip address add $address/32 dev lo; done

begin 'without a configuration nothing starts'
systemctl start sipagent
same 'the service' "$(shown ActiveState)" inactive

begin 'the service starts: systemctl returns once calls can come'
echo 'correct horse battery staple' >passphrase
sipagent init --answers answers.toml /etc/sipagent >/dev/null
systemctl start sipagent || fail 'it does not start'
same 'the service' "$(shown ActiveState)" active
until_status '0 calls of at most*'
main=$(shown MainPID)
same 'its user' "$(stat --format=%U "/proc/$main")" sipagent
same 'what it may gain' "$(awk '/^CapBnd/ {print $2}' "/proc/$main/status")" 0000000000000000
same 'its filter of system calls' "$(awk '/^Seccomp:/ {print $2}' "/proc/$main/status")" 2

begin 'a call'
call & caller=$!
until_status '1 call of at most*'
wait $caller || fail 'the call did not go as it must'
until_status '0 calls of at most*'
same 'what is kept' "$(runuser -u sipagent -- sipagent list --json | grep -c '"closed"')" 1

begin 'a reload: systemctl returns once the file is in force, and a wrong one changes nothing'
systemctl reload sipagent
until_said sipagent '"event": "reloaded"'
sed -i 's/^timezone/timezon/' $config
systemctl reload sipagent
until_status '*; the last reload was refused, see the log'
sed -i 's/^timezon /timezone /' $config
systemctl reload sipagent
until_status '0 calls of at most *[0-9]'
same 'the service' "$(shown MainPID)" "$main"

begin 'the supervisor dies: a call goes on, and others can come'
rm -f said
call 12 & caller=$!
talking
kill -KILL "$main"
until_said sipagent-failed 'sipagent.service failed (signal, KILL)'
wait $caller || fail 'the call was cut off'
for _ in {1..100}; do if [ "$(shown ActiveState)" = active ]; then break; fi; sleep 0.2; done
same 'the service' "$(shown ActiveState)" active
[ "$(shown MainPID)" != "$main" ] || fail 'it is the old one'

begin 'a supervisor that hangs is ended and started anew'
mkdir -p /run/systemd/system/sipagent.service.d
printf '[Service]\nWatchdogSec=4\n' >/run/systemd/system/sipagent.service.d/soon.conf
systemctl daemon-reload
systemctl restart sipagent
main=$(shown MainPID)
kill -STOP "$main"
until_said sipagent-failed 'sipagent.service failed (watchdog, ' # ABRT, or what saying where threads were has ended in
for _ in {1..100}; do if [ "$(shown ActiveState)" = active ]; then break; fi; sleep 0.2; done
same 'the service' "$(shown ActiveState)" active
rm -r /run/systemd/system/sipagent.service.d
systemctl daemon-reload

begin 'the daily check: what it finds stands in the journal with priority err'
systemctl start sipagent-check || true
until_said sipagent-failed 'sipagent-check.service failed (exit-code, 1)'
until_said sipagent-failed 'error    '
until_said sh 'All of it is as it was written.'
journalctl --quiet --no-pager --output=cat --identifier sipagent-failed --priority err --since "@$since" | head -n 5
[ -n "$(shown NextElapseUSecRealtime sipagent-check.timer)" ] || fail 'nobody starts it'

begin 'the page: the package does not enable it; it answers, lets in who has a token, and goes on without the agent'
asked() { "$python" -P asked.py "http://127.0.0.1:8443$1" "${@:2}"; }
same 'the page' "$(systemctl is-enabled sipagent-web || true)" disabled
systemctl enable --now sipagent-web 2>/dev/null || fail 'the page does not start'
asked /login | grep -q 'name="password"' || fail 'it asks for no password'
page=$(shown MainPID sipagent-web)
same 'its user' "$(stat --format=%U "/proc/$page")" sipagent
same 'what it may gain' "$(awk '/^CapBnd/ {print $2}' "/proc/$page/status")" 0000000000000000
same 'its filter of system calls' "$(awk '/^Seccomp:/ {print $2}' "/proc/$page/status")" 2
runuser -u sipagent -- sipagent user add 'Claire Petit' --role listener --by 'A trial' | grep -q ' /enrol\|/enrol$' || fail 'no code for an account'
runuser -u sipagent -- sipagent token add trial --role administrator --role officer >token
closed() { grep -o '"closed"' | wc -l; }
same 'how much it lists' "$(asked /api/v1/recordings token | closed)" "$(runuser -u sipagent -- sipagent list --json | closed)"
asked /api/v1/check token POST >/dev/null
for _ in {1..300}; do said=$(asked /api/v1/check token) && if grep -q '"running": *false' <<<"$said"; then break; fi; sleep 0.2; done
grep -q '"problem": *null' <<<"$said" || fail "the check that it has run says $said"
systemctl stop sipagent
asked /login >/dev/null || fail 'it does not go on without the agent'
same 'the page' "$(shown MainPID sipagent-web)" "$page"
systemctl disable --now sipagent-web 2>/dev/null
systemctl start sipagent

begin 'a configuration that is wrong is not tried again and again'
sed -i 's/^timezone/timezon/' $config
systemctl restart sipagent && fail 'it started'
same 'the service' "$(shown ActiveState) $(shown ExecMainStatus)" 'failed 2'
sed -i 's/^timezon /timezone /' $config
systemctl start sipagent

begin 'stop: nothing of it is left'
systemctl stop sipagent
same 'the service' "$(shown ActiveState) $(shown Result)" 'inactive success'
! pgrep -u sipagent >/dev/null || fail 'processes are left'
step 'All of it went well'
