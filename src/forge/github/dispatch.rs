//! Workflows that are started by hand, and where their runs stand.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Github;
use super::line::{Call, Telling, Trouble, document, failed, good, refusal};
use super::runners::escaped;
use super::scope::{self, is_name};
use super::shapes::{Repository, Run, written};
use crate::fleet::forge::ForgeErrorClass;
use crate::forge::web::Answer;
use crate::forge::{CallError, Dispatch, Dispatched, RunShape, RunState};
use crate::ids::ForgeRunId;
use crate::units::Time;

/// GitHub takes no more.
const INPUTS_MAX: usize = 25;
/// A run is looked for so often, and so far apart, where GitHub does not say which it is.
const LOOKS: u32 = 8;
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Times are whole seconds at GitHub, and clocks differ.
const CLOCKS: Duration = Duration::from_secs(90);
const RIGHTS: &str = "Actions: write (a classic token: `repo`)";

#[derive(Deserialize)]
struct Started {
    #[serde(default)]
    workflow_run_id: Option<u64>,
    #[serde(default)]
    html_url: Option<String>,
}

impl Github {
    pub(super) async fn dispatch_workflow(
        &self,
        order: &Dispatch,
    ) -> Result<Dispatched, CallError> {
        let what = format!("starting {} in {}", order.workflow, order.repository);
        let telling = Telling { what: &what, is_change: true, rights: RIGHTS };
        let reading = Telling { is_change: false, ..telling };
        check(order).map_err(|words| failed(ForgeErrorClass::Invalid, words))?;
        let repository = format!("/repos/{}", order.repository);
        let reference = match &order.reference {
            Some(reference) => reference.clone(),
            None => {
                let found: Repository =
                    self.api.get(&repository).await.map_err(|trouble| reading.sort(trouble))?;
                found.default_branch.unwrap_or_else(|| "main".to_owned())
            }
        };
        let begun = self.api.line.now();
        let known = self.runs(order, &reference, begun).await;
        let known = known.map_err(|trouble| reading.sort(trouble))?;
        let answer = self.start(&reference, order).await;
        let answer = answer.map_err(|trouble| match trouble {
            Trouble::Refused(answer) if answer.status.as_u16() == 422 => failed(
                ForgeErrorClass::Invalid,
                format!(
                    "{what}: GitHub does not take it ({}); the workflow needs `on: \
                     workflow_dispatch` with these inputs on `{reference}`",
                    refusal(&answer)
                ),
            ),
            trouble => telling.sort(trouble),
        })?;
        if let Ok(Started { workflow_run_id: Some(run), html_url }) = document(&answer) {
            return Ok(Dispatched { run: Some(ForgeRunId(run)), url: html_url });
        }
        Ok(self.find_run(order, &reference, begun, &known).await)
    }

    async fn start(&self, reference: &str, order: &Dispatch) -> Result<Answer, Trouble> {
        let (repository, workflow) = (&order.repository, &order.workflow);
        let path = format!("/repos/{repository}/actions/workflows/{workflow}/dispatches");
        let mut body =
            json!({"ref": reference, "inputs": order.inputs, "return_run_details": true});
        match self.api.call(Call::post(&path, &body)).await {
            // Older servers know no such field; what they refused did not happen.
            Err(Trouble::Refused(answer)) if refusal(&answer).contains("return_run_details") => {
                if let Value::Object(fields) = &mut body {
                    fields.remove("return_run_details");
                }
                self.api.call(Call::post(&path, &body)).await
            }
            answer => answer,
        }
    }

    /// The workflow's runs by hand since a little before `begun`.
    async fn runs(
        &self,
        order: &Dispatch,
        reference: &str,
        begun: Time,
    ) -> Result<Vec<Run>, Trouble> {
        let path = format!(
            "/repos/{}/actions/runs?event=workflow_dispatch&branch={}&created=%3E%3D{}&per_page=100",
            order.repository,
            escaped(reference),
            escaped(&written(begun.before(CLOCKS)))
        );
        let mut runs = self.api.list_some::<Run>(&path, "workflow_runs", 1).await?.items;
        runs.retain(|run| is_of(run, &order.workflow));
        Ok(runs)
    }

    /// The run that was not there before; none if two were started at once, or none shows in time.
    async fn find_run(
        &self,
        order: &Dispatch,
        reference: &str,
        begun: Time,
        known: &[Run],
    ) -> Dispatched {
        for _ in 0..LOOKS {
            // The workflow was started: a look that fails is no failure of that.
            let runs = self.runs(order, reference, begun).await.unwrap_or_default();
            let is_new = |run: &&Run| !known.iter().any(|known| known.id == run.id);
            let new: Vec<&Run> = runs.iter().filter(is_new).collect();
            match new.as_slice() {
                [] => tokio::time::sleep(LOOK_AGAIN).await,
                [run] => {
                    return Dispatched { run: Some(ForgeRunId(run.id)), url: run.html_url.clone() };
                }
                _ => break,
            }
        }
        Dispatched { run: None, url: None }
    }

    pub(super) async fn read_run(
        &self,
        repository: &str,
        run: ForgeRunId,
    ) -> Result<RunState, CallError> {
        let what = format!("reading run {run} of {repository}");
        let telling = Telling { what: &what, is_change: false, rights: "Actions: read" };
        scope::repository(repository).map_err(|words| failed(ForgeErrorClass::Invalid, words))?;
        let path = format!("/repos/{repository}/actions/runs/{run}");
        let answer = self.api.call(Call::get(&path)).await.and_then(good);
        let run: RunShape =
            answer.and_then(|it| document(&it)).map_err(|trouble| telling.sort(trouble))?;
        Ok(run.into())
    }
}

/// Whether a run is of a workflow, by its file's name or its number.
fn is_of(run: &Run, workflow: &str) -> bool {
    if let Ok(number) = workflow.parse::<u64>() {
        return run.workflow_id == Some(number);
    }
    let file = run.path.as_deref().and_then(|path| path.rsplit('/').next());
    // `ci.yml@main` where it comes from elsewhere; a server that does not say is believed.
    file.is_none_or(|file| file.split('@').next() == Some(workflow))
}

fn check(order: &Dispatch) -> Result<(), String> {
    scope::repository(&order.repository)?;
    if !is_name(&order.workflow) {
        return Err(format!(
            "`{}` is no workflow; write its file's name, such as `ci.yml`, or its number",
            order.workflow
        ));
    }
    if order.inputs.len() > INPUTS_MAX {
        return Err(format!("a workflow has {INPUTS_MAX} inputs at most"));
    }
    Ok(())
}
