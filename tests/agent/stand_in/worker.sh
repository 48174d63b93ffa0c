#!/bin/sh
# A stand-in for the program that runs one job: the hook, then until the file `finish` is there.
export GITHUB_WORKFLOW="CI / Build" GITHUB_RUN_ID=4242 GITHUB_REPOSITORY=me/site GITHUB_JOB=build
export GITHUB_EVENT_NAME=pull_request GITHUB_EVENT_PATH=$(pwd)/control/event.json
if ! bash "$ACTIONS_RUNNER_HOOK_JOB_STARTED" > control/hook 2>&1; then
    echo refused >> control/steps
    exit 1
fi
echo begun >> control/steps
[ -e control/leave ] && { setsid sleep 1000 & echo $! > control/left; }
while [ ! -e control/finish ]; do sleep 0.02; done
rm control/finish
bash "$ACTIONS_RUNNER_HOOK_JOB_COMPLETED"
echo ended >> control/steps
