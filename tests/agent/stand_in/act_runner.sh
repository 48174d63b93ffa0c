#!/bin/sh
# A stand-in for Gitea's runner: registers with one token, waits for one job, and ends after it.
control=$(dirname "$0")/../control
log() { echo "time=\"$(date -u '+%Y-%m-%dT%H:%M:%SZ')\" level=info msg=\"$1\""; }
case $1 in
    register)
        echo "$@" > "$control/configured"
        if [ "$GITEA_RUNNER_REGISTRATION_TOKEN" != "good-token-canary" ]; then
            log "fail to register: runner registration token not found" >&2
            exit 1
        fi
        echo '{"id":12,"name":"homelab-runner-1","ephemeral":true}' > .runner
        ;;
    daemon)
        [ -e .runner ] && grep -q shutdown_timeout "$3" || exit 1
        env > "$control/environment"
        trap 'exit 0' INT
        log "runner: homelab-runner-1, with version: v0, with labels: [linux], declare successfully"
        while [ ! -e "$control/job" ]; do sleep 0.02; done
        log "task 51 repo is me/site https://gitea.com http://git.lan"
        while [ ! -e "$control/finish" ]; do sleep 0.02; done
        ;;
    *) exit 2 ;;
esac
