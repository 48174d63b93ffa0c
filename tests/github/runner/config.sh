#!/usr/bin/env bash
# Stand-in for GitHub's config.sh: the same refusal of root, the same program behind it.
cd "$(dirname "$0")" || exit 1
if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
  echo "Must not run with sudo" >&2
  exit 1
fi
if [ "${1:-}" = remove ]; then exec bin/Runner.Listener "$@"; fi
exec bin/Runner.Listener configure "$@"
