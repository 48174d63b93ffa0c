#!/usr/bin/env bash
# Helpers that all scripts of this repository share; sourced, never run.
# Messages go to stderr, so that a script's stdout stays its result.

# One clock for a script and the scripts that it calls.
export SLATE_SCRIPT_STARTED="${SLATE_SCRIPT_STARTED:-$(date +%s)}"

# rustup puts its tools there, and only a new shell would find them.
if ! command -v cargo >/dev/null 2>&1 && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
  export PATH="${HOME:-/root}/.cargo/bin:$PATH"
fi

elapsed() { echo $(($(date +%s) - SLATE_SCRIPT_STARTED)); }

# A new step: `[  12 s] == Building slate-fleet`.
step() { printf '[%4d s] == %s\n' "$(elapsed)" "$*" >&2; }

# A line inside a step.
note() { printf '[%4d s]    %s\n' "$(elapsed)" "$*" >&2; }

# fail MESSAGE [WHAT TO DO]...: ends the script.
fail() {
  printf '[%4d s] FAILED: %s\n' "$(elapsed)" "$1" >&2
  shift
  local line
  for line in "$@"; do printf '          %s\n' "$line" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need_root PURPOSE: makes as_root possible, or ends the script. Asks for sudo's password on a terminal, now,
# because a long command that runs with its output in a log cannot ask.
need_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  local purpose="$1 needs root"
  have sudo || fail "$purpose, and there is no sudo" "Run this as root."
  if [ -t 0 ]; then sudo true; else sudo -n true; fi || fail "$purpose" "Run this as root, or on a terminal."
}

# Runs a command as root; after need_root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# wait_for SECONDS COMMAND...: true as soon as the command is; false when the time is over.
wait_for() {
  local until=$(($(date +%s) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$until" ] || return 1
    sleep 0.2
  done
}

# with_progress LABEL LOG COMMAND...: runs a long command with its output in LOG.
# Says every 10 s how it goes; returns the command's exit code.
with_progress() {
  local label="$1" log="$2" pid code=0 spoke
  shift 2
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  # shellcheck disable=SC2064 # the pid of now is meant
  trap "kill $pid 2>/dev/null || true; exit 130" INT TERM
  spoke="$(elapsed)"
  while kill -0 "$pid" 2>/dev/null; do
    if [ $(($(elapsed) - spoke)) -ge 10 ]; then
      note "$label ... $(last_line "$log")"
      spoke="$(elapsed)"
    fi
    sleep 0.2
  done
  wait "$pid" || code=$?
  trap - INT TERM
  return "$code"
}

# As with_progress; shows the end of LOG when the command fails.
watched() {
  local code=0
  with_progress "$@" || code=$?
  [ "$code" -ne 0 ] || return 0
  note "$1: exit code $code; the end of its output:"
  tail -n 30 "$2" | sed 's/^/          | /' >&2
  return "$code"
}

# python_packages FOLDER LIST: a Python environment in FOLDER with the packages of LIST and no others;
# made again when LIST changed.
python_packages() {
  local folder="$1" wanted="$2"
  ! cmp -s "$wanted" "$folder/installed.txt" || return 0
  have python3 || fail "there is no python3" "Install Python 3 with your system's package manager."
  if have dpkg-query; then need_packages python3-venv; fi
  rm -rf "$folder"
  python3 -m venv "$folder" || fail "python3 cannot make an environment" "Install its module venv."
  "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$wanted" >&2 ||
    fail "could not install $(basename "$wanted" .txt)" "Is PyPI, or the index in PIP_INDEX_URL, reachable?"
  cp "$wanted" "$folder/installed.txt"
}

# The last line of a log that says something, without control characters, at most 90 characters.
last_line() {
  tail -c 4000 "$1" | tr '\r' '\n' | tr -cd '[:print:]\n' | sed 's/^ *//' |
    awk 'NF { line = $0 } END { print substr(line, 1, 90) }'
}

# need_packages PACKAGE...: installs through apt those that are missing.
need_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
      missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  have apt-get || fail "these packages are missing, and this system has no apt-get: ${missing[*]}" \
    "Install them with your system's own package manager and run this again."
  need_root "installing ${missing[*]}"
  local logs
  logs="$(mktemp -d)"
  note "installing ${missing[*]}"
  # Lists that are absent or old fail in ways that only a fresh list mends, so it comes first.
  watched "package lists" "$logs/update.log" as_root apt-get update ||
    note "apt-get update failed; going on with the package lists that are there"
  watched "packages" "$logs/install.log" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}" ||
    fail "could not install ${missing[*]}" "Full output: $logs/install.log"
  rm -rf "$logs"
}

# The bundle of certificates that this machine trusts; nothing when there is none.
# Downloads inside a container need it behind a proxy that inspects TLS.
ca_bundle() {
  local file
  for file in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}" \
    "${REQUESTS_CA_BUNDLE:-}" /etc/ssl/certs/ca-certificates.crt; do
    if [ -n "$file" ] && [ -s "$file" ]; then
      echo "$file"
      return
    fi
  done
}

# version_at_least HAVE WANTED
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# usage FILE: prints the comment at the top of a script as its help.
usage() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p;}' "$1"; }
