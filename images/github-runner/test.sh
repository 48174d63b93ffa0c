#!/usr/bin/env bash
# Checks what the GitHub runner image promises (README.md), in one container without network.
#
# Usage: images/github-runner/test.sh [IMAGE]      IMAGE: slate-github-runner:latest
# Example: images/github-runner/build && images/github-runner/test.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/promises.sh
. "$here/../promises.sh"

case "${1:-}" in
  -h | --help) usage "$0"; exit 0 ;;
esac
image="${1:-slate-github-runner:latest}"

# Runs inside the container.
checks() {
  root=/opt/github-runner
  expect "user" runner "$(id -un)"
  expect "the runner's folder is the user's" runner "$(stat -c %U "$root")"
  for file in bin/Runner.Listener bin/Runner.Worker config.sh run.sh; do
    expect "$file can be run" yes "$([ -x "$root/$file" ] && echo yes)"
  done
  expect "the listener says its version" yes \
    "$("$root/bin/Runner.Listener" --version | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+$' && echo yes)"
  expect "no registration is inside" "" "$(ls "$root"/.runner "$root"/.credentials* 2>/dev/null)"
  "$root/bin/Runner.Listener" run >/tmp/out 2>&1
  expect "a listener without a registration ends with 1" 1 "$?"
  expect "setuid and setgid files" "" "$(find / -xdev -type f -perm /6000 2>/dev/null)"
  expect "package lists" "" "$(find /var/lib/apt/lists -type f ! -name lock 2>/dev/null)"
}

keeps_promises "$image" images/github-runner/build
