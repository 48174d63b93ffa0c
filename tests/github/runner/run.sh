#!/usr/bin/env bash
# Stand-in for GitHub's run.sh: it hides exit codes and tries again for ever, as the real one does.
cd "$(dirname "$0")" || exit 1
if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
  echo "Must not run interactively with sudo" >&2
  exit 1
fi
while :; do
  bin/Runner.Listener run "$@"
  case $? in
    2 | 3 | 4) sleep 5 ;;
    7) if [ "${ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE:-}" = 1 ]; then exit 7; else exit 0; fi ;;
    *) exit 0 ;;
  esac
done
