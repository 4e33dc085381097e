#!/usr/bin/env bash
# Installs the wheel by pip and by uv, each where nothing else is, and uses it from /: init, a service that gets ready,
# two calls. What it depends on comes from PyPI, in the newest versions that are accepted.
# usage: deploy/try-wheel.sh WHEEL    PYTHON: 3.11 or 3.12; UV: the program
set -euo pipefail
wheel=$(realpath "$1")
# shellcheck disable=SC2153 # from outside
python=$("$PYTHON" -c 'import sys; print(sys._base_executable)')
uv=$(command -v "${UV:-uv}")
folder=$(mktemp -d -p "${TMPDIR:-/var/tmp}" sipagent-wheel-XXXXXX)
trap 'rm -rf "$folder"' EXIT
cd /

tried() { # NAME PROGRAM
	local at=$folder/$1
	clean() { env -i "PATH=/usr/bin:/bin:/usr/sbin:/sbin" LANG=C.UTF-8 "HOME=$folder" "$@"; }
	printf '\n=== %s: %s\n' "$1" "$(clean "$2" --version)"
	clean "$2" init --no-passphrase "$at" >/dev/null
	[ -s "$at/config.toml" ] && [ -s "$at/prompts/fr/notice.wav" ]
	clean "$2" --config "$at/config.toml" list
	clean "$2" demo | tail -n 1 | grep -x 'Both calls went as they must.'
}

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
tried pip "$folder/venv/bin/sipagent"

export UV_TOOL_DIR=$folder/tools UV_TOOL_BIN_DIR=$folder/bin
"$uv" tool install --quiet --python "$python" "$wheel"
tried uv "$folder/bin/sipagent"
