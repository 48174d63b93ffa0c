#!/usr/bin/env bash
# Checks what the runner image promises (README.md), in one container without network.
#
# Usage: images/runner/test.sh [IMAGE]      IMAGE: slate-runner:latest
# Example: images/build && images/runner/test.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/promises.sh
. "$here/../promises.sh"

case "${1:-}" in
  -h | --help) usage "$0"; exit 0 ;;
esac
image="${1:-slate-runner:latest}"

# Runs inside the container.
checks() {
  succeeds() { if "${@:2}" >/tmp/out 2>&1; then expect "$1" 0 0; else expect "$1" 0 "$? $(tail -n 3 /tmp/out)"; fi; }

  expect "user and group" "uid=10001(runner) gid=10001(runner) groups=10001(runner)" "$(id)"
  expect "home" "/home/runner runner" "$HOME $(stat -c %U "$HOME")"
  expect "working directory" "/work runner" "$PWD $(stat -c %U .)"
  expect "installed Python packages" "$(grep -v '^#' /usr/local/share/slate-runner/requirements.txt | sort -f)" \
    "$(pip freeze --path /usr/local/lib/python3*/dist-packages | sort -f)"
  for tool in ruff black isort mypy pytest bandit git python3 pip ps less; do
    succeeds "$tool runs" "$tool" --version
  done
  succeeds "python3 finds pytest and xdist" python3 -c 'import pytest, xdist'
  succeeds "packages fit together" pip check
  succeeds "venv with pip" python3 -m venv /tmp/venv
  expect "setuid and setgid files" "" "$(find / -xdev -type f -perm /6000 2>/dev/null)"
  expect "files of others that anyone may write" "" \
    "$(find / -xdev -type f -perm -o+w ! -path '/proc/*' ! -path '/sys/*' ! -user runner 2>/dev/null)"
  expect "package lists and caches" "" \
    "$(find /var/lib/apt/lists /var/cache/apt -type f ! -name lock 2>/dev/null; ls -d /tmp/build 2>/dev/null)"
}

keeps_promises "$image" images/build
