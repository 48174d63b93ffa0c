//! The API's description, in OpenAPI 3.1: made from the table of routes and the types on the wire.
//!
//! OpenAPI 3.1 takes JSON Schema as it is, and that is what schemars makes of the types; what is
//! left is to put them in their places.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::Needs;
use super::dto::JSON_LINES_TYPE;
use super::problem::{PROBLEM_TYPE, Problem, ProblemKind};
use super::routes;

/// Where a type is put into the schemas, and what stands for it from then on.
type Place = fn(&mut SchemaGenerator) -> Schema;

fn place<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// What a route is, for people and programs that have not read its code.
#[derive(Debug, Clone, Default)]
pub(super) struct Description {
    says: &'static str,
    query: Option<Place>,
    body: Option<Content>,
    answers: Vec<(u16, Content)>,
    refuses: Vec<ProblemKind>,
    is_tagged: bool,
}

/// A body, in one of the two directions.
#[derive(Debug, Clone, Copy)]
struct Content {
    media: &'static str,
    /// None for what is no JSON.
    schema: Option<Place>,
}

impl Content {
    fn json<T: JsonSchema>() -> Self {
        Self { media: "application/json", schema: Some(place::<T>) }
    }

    fn schema(self, schemas: &mut SchemaGenerator) -> Value {
        json!({"schema": self.schema.map_or(json!({}), |place| place(schemas).to_value())})
    }
}

/// What any route may answer with beside its own.
const ANYWHERE: [ProblemKind; 4] =
    [ProblemKind::Busy, ProblemKind::Internal, ProblemKind::Unavailable, ProblemKind::Timeout];

impl Description {
    pub(super) fn says(&mut self, says: &'static str) {
        self.says = says;
    }

    pub(super) fn query<T: JsonSchema>(&mut self) {
        self.query = Some(place::<T>);
    }

    pub(super) fn takes<T: JsonSchema>(&mut self) {
        self.body = Some(Content::json::<T>());
    }

    /// A body that is no JSON document.
    pub(super) fn takes_as(&mut self, media: &'static str) {
        self.body = Some(Content { media, schema: None });
    }

    pub(super) fn answers<T: JsonSchema>(&mut self, status: u16) {
        self.answers.push((status, Content::json::<T>()));
    }

    pub(super) fn answers_as(&mut self, media: &'static str) {
        self.answers.push((200, Content { media, schema: None }));
    }

    /// The schema is that of a line: OpenAPI 3.1 has no word for it.
    pub(super) fn answers_lines<T: JsonSchema>(&mut self) {
        self.answers.push((200, Content { media: JSON_LINES_TYPE, schema: Some(place::<T>) }));
    }

    pub(super) fn tagged(&mut self) {
        self.is_tagged = true;
    }

    pub(super) fn refuses(&mut self, kinds: &[ProblemKind]) {
        self.refuses.extend(kinds);
    }

    /// As an operation of a path.
    fn operation(&self, name: &Name, needs: Needs, schemas: &mut SchemaGenerator) -> Value {
        let mut parameters: Vec<Value> = name.parameters().collect();
        parameters
            .extend(self.query.into_iter().flat_map(|query| query_parameters(query, schemas)));
        let mut operation = Map::new();
        operation.insert("operationId".to_owned(), json!(name.operation()));
        operation.insert("summary".to_owned(), json!(self.says));
        operation.insert("tags".to_owned(), json!([name.tag()]));
        operation.insert("security".to_owned(), security(needs));
        operation.insert("parameters".to_owned(), json!(parameters));
        if let Some(body) = self.body {
            let content = json!({body.media: body.schema(schemas)});
            let body = json!({"required": true, "content": content});
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), self.responses(name, needs, schemas));
        Value::Object(operation)
    }

    fn responses(&self, name: &Name, needs: Needs, schemas: &mut SchemaGenerator) -> Value {
        let mut bodies: BTreeMap<u16, Map<String, Value>> = BTreeMap::new();
        for (status, answer) in &self.answers {
            let of_status = bodies.entry(*status).or_default();
            of_status.insert(answer.media.to_owned(), answer.schema(schemas));
        }
        let mut responses = Map::new();
        for (status, content) in bodies {
            let what = if status == 202 { "Taken; it waits" } else { "Done" };
            let answer = json!({"description": what, "content": content});
            responses.insert(status.to_string(), answer);
        }
        if self.is_tagged {
            let known = json!({"description": "The caller has it already"});
            responses.insert("304".to_owned(), known);
        }
        let problem = Content { media: PROBLEM_TYPE, schema: Some(place::<Problem>) };
        for (status, kinds) in self.problems(name, needs) {
            let words: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
            let content = json!({PROBLEM_TYPE: problem.schema(schemas)});
            let refusal = json!({"description": words.join("; "), "content": content});
            responses.insert(status.to_string(), refusal);
        }
        Value::Object(responses)
    }

    /// What it may refuse with, by status.
    fn problems(&self, name: &Name, needs: Needs) -> BTreeMap<u16, Vec<ProblemKind>> {
        let mut kinds: Vec<ProblemKind> = ANYWHERE.to_vec();
        // A token that is none is told so anywhere; a port of this machine wants its own name.
        kinds.extend([ProblemKind::Unauthenticated, ProblemKind::NotAllowed]);
        if self.body.is_some() {
            kinds.extend([ProblemKind::Invalid, ProblemKind::TooLarge, ProblemKind::WrongType]);
        }
        if self.query.is_some() || name.has_parameters() {
            kinds.push(ProblemKind::Invalid);
        }
        if name.has_parameters() {
            kinds.push(ProblemKind::NotFound);
        }
        if needs != Needs::Nothing {
            kinds.push(ProblemKind::NotNow);
        }
        kinds.extend(&self.refuses);
        let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
        for kind in kinds {
            let same = by_status.entry(kind.status().as_u16()).or_default();
            if !same.contains(&kind) {
                same.push(kind);
            }
        }
        by_status
    }
}

/// A route's method and path, taken apart.
pub(super) struct Name {
    pub(super) method: Method,
    pub(super) path: &'static str,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Name {
    fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter(|step| !step.is_empty())
    }

    /// `get`.
    fn verb(&self) -> String {
        self.method.as_str().to_lowercase()
    }

    fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }

    /// `get_jobs_id_logs`; what is not below `/api/v1` keeps its whole path.
    fn operation(&self) -> String {
        let own = self.path.strip_prefix("/api/v1/").unwrap_or(self.path);
        let steps = own
            .split('/')
            .filter(|step| !step.is_empty())
            .map(|step| step.trim_matches(['{', '}']).replace(['-', '.'], "_"));
        std::iter::once(self.verb()).chain(steps).collect::<Vec<_>>().join("_")
    }

    /// The first step that tells one part of the API from another.
    fn tag(&self) -> &'static str {
        self.steps().find(|step| !matches!(*step, "api" | "v1")).unwrap_or("dashboard")
    }

    fn parameters(&self) -> impl Iterator<Item = Value> {
        let steps: Vec<&str> = self.steps().collect();
        let pairs: Vec<(&str, &str)> =
            steps.iter().copied().zip(steps.iter().copied().skip(1)).collect();
        pairs.into_iter().filter_map(|(before, step)| {
            let name = step.strip_prefix('{')?.strip_suffix('}')?;
            let (what, schema) = path_parameter(before);
            Some(json!({
                "name": name, "in": "path", "required": true, "description": what, "schema": schema,
            }))
        })
    }
}

/// What stands behind a step of a path.
fn path_parameter(before: &str) -> (&'static str, Value) {
    match before {
        "jobs" => (
            "A job's id: `job-42` or `42`.",
            json!({"type": "string", "pattern": "^(job-)?[0-9]{1,18}$"}),
        ),
        "runners" => (
            "A runner's name or id: `slate-light-01` or `runner-001`.",
            json!({"type": "string", "minLength": 1}),
        ),
        "tokens" => ("A token's id.", json!({"type": "string", "pattern": "^[0-9a-f]{8}$"})),
        "runs" => {
            ("A run's number at its forge.", json!({"type": "string", "pattern": "^[0-9]{1,18}$"}))
        }
        _ => ("A name.", json!({"type": "string", "minLength": 1})),
    }
}

/// The properties of a type, as parameters. Its schema is looked at here, and not kept.
fn query_parameters(query: Place, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let placed = query(schemas).to_value();
    let name = placed.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next());
    let whole = match name {
        // Nothing else refers to it.
        Some(name) => schemas.definitions_mut().remove(name).unwrap_or_default(),
        None => placed,
    };
    let required = |name: &String| {
        whole
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|all| all.contains(&json!(name)))
    };
    let properties = whole.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            without_null(&mut schema);
            let what = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({
                "name": name, "in": "query", "required": required(name),
                "description": what.unwrap_or_default(), "schema": schema,
            })
        })
        .collect()
}

/// A query leaves out what it does not say; it cannot say null.
fn without_null(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|option| option.get("type").is_none_or(|kind| kind != "null"));
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

/// Roles stand where OpenAPI has the scopes of other schemes.
fn security(needs: Needs) -> Value {
    match needs {
        Needs::Nothing => json!([]),
        Needs::ThisMachine => json!([{}, {"token": ["viewer"]}]),
        Needs::Role(role) => json!([{"token": [role.word()]}]),
    }
}

fn build() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes::all() {
        let name = route.name();
        let operation = route.description.operation(&name, route.needs, &mut schemas);
        paths.entry(name.path).or_default().insert(name.verb(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "slate-fleet",
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "A token with the role that an operation names, or a higher one. \
                                The fleet's socket needs none.",
            }},
        },
    })
}

/// The description as JSON, built once.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| serde_json::to_string_pretty(&build()).unwrap_or_default())
}

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], text()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let description = build();
        let paths = description["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, operations)| {
            let methods = operations.as_object().expect("operations").keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        let described: BTreeSet<String> = operations.collect();
        let routes = routes::all();
        assert_eq!(described, routes.iter().map(|route| route.name().to_string()).collect());
    }

    #[test]
    fn every_operation_says_what_it_does_and_what_it_answers() {
        let description = build();
        let mut ids = BTreeSet::new();
        for (path, operations) in description["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let id = operation["operationId"].as_str().expect("an id");
                assert!(ids.insert(id.to_owned()), "{id} twice");
                assert!(operation["summary"].as_str().is_some_and(|it| it.ends_with('.')), "{id}");
                let answers = operation["responses"].as_object().expect("answers");
                assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path}");
                for parameter in operation["parameters"].as_array().expect("parameters") {
                    assert!(parameter["description"].is_string(), "{parameter} of {id}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let text = build().to_string();
        let description: Value = serde_json::from_str(&text).expect("JSON");
        let mut count = 0;
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next())
        {
            let pointer = reference.strip_prefix('#').expect("a reference into the document");
            assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
            count += 1;
        }
        assert!(count > 20, "the references were not found");
    }
}
