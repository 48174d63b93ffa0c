//! Registering for good: the forge's own program does it with a token, which only that process has.

use std::collections::BTreeMap;

use crate::wire::listen::{ListenOrder, ListenerEnd};

/// How the program takes its token: not by an argument, which every process could read.
const TOKEN: &str = "ACTIONS_RUNNER_INPUT_TOKEN";

/// What the program is run with.
pub(super) fn arguments(order: &ListenOrder, work: &str) -> Vec<String> {
    let labels = order.labels.join(",");
    let mut arguments: Vec<&str> = vec![
        "configure",
        "--unattended",
        // A runner of this name is the slot's last container, which is gone.
        "--replace",
        // Images are pinned; a new program comes with a new image.
        "--disableupdate",
        // The labels are complete, as they are for runners of one job.
        "--no-default-labels",
        "--url",
        &order.url,
        "--name",
        &order.name,
        "--labels",
        &labels,
        "--work",
        work,
    ];
    if let Some(group) = &order.group {
        arguments.extend(["--runnergroup", group]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// Its environment.
pub(super) fn env(base: &BTreeMap<String, String>, token: &str) -> BTreeMap<String, String> {
    let mut env = base.clone();
    env.insert(TOKEN.to_owned(), token.to_owned());
    env
}

/// What its failure means. The program has one exit code for all, so its words are read.
pub(super) fn failure(code: i32, said: &str) -> ListenerEnd {
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let why = last_line(said).unwrap_or("it did not say why").to_owned();
    let refused = has(&["NotFound", "Not Found", "404", "Unauthorized", "401"])
        && has(&["runner-registration", "token", "Http response code"]);
    if refused || has(&["Invalid configuration provided for token", "Token has expired"]) {
        return ListenerEnd::TokenRefused(format!(
            "the forge does not take the token; it is wrong, older than an hour, or for another \
             place ({why})"
        ));
    }
    if has(&["runner exists with the same name"]) {
        return ListenerEnd::NameTaken(why);
    }
    ListenerEnd::NotRegistered(format!("registering ended with code {code}: {why}"))
}

/// The last line that is not about how to go on.
fn last_line(said: &str) -> Option<&str> {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_the_programs_words() {
        let refused = [
            "Http response code: NotFound from 'POST https://api.github.com/actions/\
             runner-registration' (Request Id: A)\nNot Found",
            "Http response code: Unauthorized from 'POST https://api.github.com/actions/\
             runner-registration'",
            "Invalid configuration provided for token. Terminating unattended configuration.",
        ];
        for said in refused {
            let end = failure(1, said);
            assert!(matches!(end, ListenerEnd::TokenRefused(_)), "{said}: {end:?}");
        }
        let taken = "A runner exists with the same name homelab-runner-1.";
        assert!(matches!(failure(1, taken), ListenerEnd::NameTaken(_)));
        for said in ["The SSL connection could not be established", "", "Name or service not known"]
        {
            let end = failure(1, said);
            assert!(matches!(end, ListenerEnd::NotRegistered(_)), "{said}: {end:?}");
        }
    }

    #[test]
    fn the_token_is_no_argument() {
        let env = env(&BTreeMap::new(), "secret");
        assert_eq!(env.get("ACTIONS_RUNNER_INPUT_TOKEN").map(String::as_str), Some("secret"));
    }
}
