#!/usr/bin/env bash
# Builds the container from dist/sipagent_*.deb and tries it: two calls; then the service, with nothing that it may
# write to but its volume; its health; its end. Needs root and podman. CONTAINER_BASE: a local image of Debian 13,
# where the registry cannot be reached; `make` makes one by mmdebstrap.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/bare.sh
. tests/bare.sh
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
image=localhost/sipagent-tried base=${CONTAINER_BASE:-}
folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}" sipagent-container-XXXXXX)
container='' page=''
trap 'for one in $container $page; do podman rm --force "$one" >/dev/null; done; rm -rf --one-file-system "$folder"' EXIT
fail() { echo "deploy/try-container.sh: $1" >&2; exit 1; }

# What this machine allows at most is what a container may have at most.
limits=(--ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit "nproc=$(ulimit -Hu):$(ulimit -Hu)")
runtime=() # crun knows no machine with both kinds of cgroups
if [ -d /sys/fs/cgroup/memory ] && command -v runc >/dev/null; then runtime=(--runtime runc); fi
podman() { command podman "${runtime[@]}" "$@"; }
shut=(--network=host --read-only --tmpfs /tmp --tmpfs /run --cap-drop=all --security-opt=no-new-privileges)

if [ -z "$base" ]; then
	base=localhost/sipagent-base
	bootstrap trixie "$folder/root" --variant=minbase
	tar --create --directory "$folder/root" . | podman import --quiet - "$base" >/dev/null
fi
echo 'Building'
podman build --quiet "${limits[@]}" --network=host --format docker --build-arg "BASE=$base" \
	--file deploy/Containerfile --tag "$image" dist >/dev/null
podman image inspect --format 'Its size: {{.Size}} bytes' "$image"

echo 'Two calls'
podman run --rm "${shut[@]}" "${limits[@]}" "$image" demo | tail -n 1 | grep -x 'Both calls went as they must.'

echo 'The service: what init makes, with figures for its health'
mkdir -m 0750 "$folder/etc" && mkdir -m 0700 "$folder/var"
chown 0:5060 "$folder/etc" && chown 5060:5060 "$folder/var"
volumes=(--volume "$folder/etc:/etc/sipagent:ro" --volume "$folder/var:/var/lib/sipagent")
podman run --rm --interactive "${limits[@]}" --user 0 "${volumes[@]/%:ro/}" "$image" \
	init --no-passphrase --answers - /etc/sipagent <<'ANSWERS'
[service]
name = "Essai"
controller = "Essai"
controller_contact = "essai@mairie.test"
dpo_contact = "dpo@mairie.test"
[trunk]
uri = "sip:0323063006@127.0.0.1"
listen = "127.0.0.1:35060"
allowed_sources = ["127.0.0.1"]
[operators]
extensions = ["sip:201@127.0.0.1:35070"]
[recording]
new_key = true
ANSWERS
sed -i -e 's/^# \[metrics\]$/[metrics]/' -e 's/^# listen = "127.0.0.1:9464"/listen = "127.0.0.1:39464"/' \
	-e 's/^rtp_ports = .*/rtp_ports = "36000-36199"/' -e 's/^calls = .*/calls = 4/' -e 's/^listen = "127.0.0.1:8443"/listen = "127.0.0.1:38443"/' "$folder/etc/config.toml"
container=$(podman run --detach "${shut[@]}" "${limits[@]}" \
	"${volumes[@]}" "$image")
grep -q -m 1 '"event": "ready"' < <(timeout 120 podman logs --follow "$container" 2>&1) || {
	podman logs "$container" >&2
	fail 'it did not get ready'
}
podman healthcheck run "$container" || fail 'its health is not told'
podman exec "$container" sipagent status
[ "$(podman exec "$container" id -u)" = 5060 ] || fail 'it runs as another user than its own'
if podman exec "$container" touch /etc/sipagent/x /usr/x 2>/dev/null; then fail 'it can write where it must not'; fi
echo 'The page: a second container with the same volumes'
page=$(podman run --detach --no-healthcheck "${shut[@]}" "${limits[@]}" "${volumes[@]}" "$image" web)
podman exec "$page" sipagent token add essai --role listener >"$folder/token"
python3 deploy/try/asked.py http://127.0.0.1:38443/login | grep -q 'name="password"' || fail 'the page asks for no password'
[ "$(python3 deploy/try/asked.py http://127.0.0.1:38443/api/v1/recordings "$folder/token")" = '[]' ] || fail 'the page lists no recordings'
podman stop --time 30 "$page" >/dev/null
[ "$(podman inspect --format '{{.State.ExitCode}}' "$page")" = 0 ] || fail 'the page did not end well'
podman stop --time 120 "$container" >/dev/null
[ "$(podman inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] || fail 'it did not end well'
[ -s "$folder/var/retention.db" ] || fail 'its database is not in its volume'
echo 'The container does what it must'
