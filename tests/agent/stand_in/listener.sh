#!/bin/sh
# A stand-in for GitHub's runner: its files, words, exit codes and hooks, driven by files in the
# folder `control` beside it. It knows no forge.
control=$(pwd)/control
say() { echo "$(date -u '+%Y-%m-%d %H:%M:%SZ'): $1"; }

if [ "$1" = configure ]; then
    [ -e .runner ] && { echo "Cannot configure the runner because it is already configured." >&2; exit 1; }
    echo "$@" > control/configured
    while [ $# -gt 0 ]; do
        [ "$1" = --name ] && name=$2
        [ "$1" = --url ] && url=$2
        shift
    done
    if [ "$ACTIONS_RUNNER_INPUT_TOKEN" != "good-token-canary" ]; then
        echo "Http response code: NotFound from 'POST https://api.github.com/actions/runner-registration'" >&2
        exit 1
    fi
    printf '\357\273\277{"agentId":7,"agentName":"%s","gitHubUrl":"%s","workFolder":"/work"}' "$name" "$url" > .runner
    echo '{"scheme":"OAuth"}' > .credentials
    echo '{"d":"key-canary"}' > .credentials_rsaparams
    exit 0
fi

[ -e .runner ] || { echo "Not configured" >&2; exit 1; }
env > control/environment
asked() { [ -e control/worker ] || exit 0; ended=yes; }
trap asked INT
# A cancelled job ends with its listener.
trap 'kill $(cat control/worker 2>/dev/null) 2>/dev/null; exit 0' TERM
say "Listening for Jobs"
while [ -z "$ended" ]; do
    if [ -e control/exit ]; then
        cat control/last-words 2>/dev/null
        code=$(cat control/exit); rm control/exit; exit "$code"
    fi
    if [ -e control/claim ]; then
        mv control/claim control/claimed
        say "Running job: never begun"
    fi
    if [ -e control/job ]; then
        name=$(cat control/job); rm -f control/job
        say "Running job: $name"
        ./bin/Runner.Worker &
        echo $! > control/worker
        wait $!
        rm -f control/worker
        say "Job $name completed with result: Succeeded"
        [ -e control/one-job ] && exit 0
        say "Listening for Jobs"
    fi
    sleep 0.02
done
