#!/usr/bin/env bash
# Checks what an image promises, in one container without network; sourced by its test.sh.

# expect WHAT EXPECTED FOUND: one check, inside the container.
expect() {
  if [ "$2" = "$3" ]; then echo "ok    $1"; return; fi
  failures=$((failures + 1))
  printf 'WRONG %s\n      expected: %s\n      found:    %s\n' "$1" "${2:0:800}" "${3:0:800}"
}

# keeps_promises IMAGE BUILD: runs the function `checks` in a container of IMAGE, which BUILD makes, with the
# rights that a runner has.
keeps_promises() {
  local image="$1" build="$2" expected found
  docker image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image" "Run: $build"
  expected='[] [/work] [runner]'
  found="$(docker image inspect --format '{{json .Config.Entrypoint}} [{{.Config.WorkingDir}}] [{{.Config.User}}]' "$image")"
  [ "${found/null/[]}" = "$expected" ] || fail "entrypoint, working directory, user: expected $expected, found $found"
  # --init and timeout: a check that hangs must not leave a container behind.
  docker run --rm --init --network none --cap-drop ALL --security-opt no-new-privileges "$image" \
    timeout 120 bash -c "$(declare -f expect checks); failures=0; checks; exit \"\$failures\"" ||
    fail "$image does not keep its promises (see WRONG above)"
  note "$image keeps its promises"
}
