//! Values that have several forms: their schemas are written by hand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

macro_rules! written {
    ($(#[$doc:meta])* $name:ident, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(transparent)]
        pub(in super::super) struct $name(pub(in super::super) String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

written!(
    /// A number of CPUs, not read yet.
    Cpus,
    {
        "title": "a number of CPUs",
        "type": ["number", "string"],
        "minimum": 0.01,
        "maximum": 1024,
        "pattern": r"^[0-9]+(\.[0-9]{1,3})?$",
        "examples": [2, 0.5]
    }
);
written!(
    /// A size, not read yet.
    Size,
    {
        "title": "a size",
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,3})? ?([bB]|[bB]yte|[kKmMgGtT]([iI]?[bB])?)$",
        "examples": ["512MiB", "1.5GiB"]
    }
);
written!(
    /// GPU memory, not read yet.
    GpuMemory,
    {
        "title": "GPU memory",
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 1_048_576,
        "pattern": r"^[0-9]+(\.[0-9]{1,3})? ?([mMgGtT]([iI]?[bB])?)?$",
        "examples": [8000, "8GiB"]
    }
);
written!(
    /// How the engine is asked for a card, not read yet.
    GpuRequest,
    {
        "title": "a way to ask for a card",
        "type": "string",
        "enum": ["auto", "nvidia", "cdi"],
        "examples": ["auto"]
    }
);
written!(
    /// What the watchdog does, not read yet.
    Watchdog,
    {
        "title": "what the watchdog does",
        "type": "string",
        "enum": ["off", "warn", "kill"],
        "examples": ["warn"]
    }
);
written!(
    /// Whether jobs reach the engine, not read yet.
    Docker,
    {
        "title": "whether jobs reach the engine",
        "type": "string",
        "enum": ["none", "socket"],
        "examples": ["socket"]
    }
);
written!(
    /// Whether jobs from forks are served, not read yet.
    Forks,
    {
        "title": "whether jobs from forks are served",
        "type": "string",
        "enum": ["deny", "allow"],
        "examples": ["deny"]
    }
);
written!(
    /// What a message looks like, not read yet.
    NotifyStyle,
    {
        "title": "what a message looks like",
        "type": "string",
        "enum": ["slack", "json"],
        "examples": ["slack"]
    }
);
written!(
    /// What a message is about, not read yet.
    NotifyEvent,
    {
        "title": "what a message is about",
        "type": "string",
        "enum": ["queue", "crash_loop", "degraded", "disk", "forge"],
        "examples": ["queue"]
    }
);
written!(
    /// The id of a GitHub App, not read yet.
    AppId,
    {
        "title": "the id of a GitHub App",
        "type": ["integer", "string"],
        "minimum": 1,
        "pattern": "^[A-Za-z0-9.]+$",
        "examples": ["Iv23liABCDEFGHIJKLMN", 123_456]
    }
);
written!(
    /// A duration, not read yet.
    Duration,
    {
        "title": "a duration",
        "type": "string",
        "pattern": r"^([0-9]+(\.[0-9]{1,3})?(ms|[smhdw]))+$",
        "examples": ["30s", "10m", "1h30m"]
    }
);
written!(
    /// A duration or `false`, not read yet.
    Healthcheck,
    {
        "title": "a duration or `false`",
        "type": ["string", "boolean"],
        "pattern": r"^([0-9]+(\.[0-9]{1,3})?(ms|[smhdw]))+$",
        "not": {"const": true},
        "examples": ["30s", false]
    }
);
written!(
    /// A duration or `false`, not read yet.
    Keep,
    {
        "title": "a duration or `false`",
        "type": ["string", "boolean"],
        "pattern": r"^([0-9]+(\.[0-9]{1,3})?(ms|[smhdw]))+$",
        "not": {"const": true},
        "examples": ["30d", false]
    }
);
written!(
    /// A numeric user, not read yet.
    User,
    {
        "title": "a numeric user",
        "type": ["string", "integer"],
        "minimum": 0,
        "maximum": 4_294_967_295_u32,
        "pattern": r"^[0-9]+(:[0-9]+)?$",
        "examples": ["1000:1000"]
    }
);

/// Environment variables; a list was turned into a map before.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(transparent)]
pub(in super::super) struct Env(pub(in super::super) BTreeMap<String, String>);

impl JsonSchema for Env {
    fn schema_name() -> Cow<'static, str> {
        "Env".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {
                    "title": "a map of names to values",
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]}
                },
                {
                    "title": "a list of `NAME=value`",
                    "type": "array",
                    "items": {"type": "string"}
                }
            ],
            "examples": [{"PYTHONDONTWRITEBYTECODE": "1"}, ["CI=true"]]
        })
    }
}

/// A folder that outlives the containers.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum RawCache {
    /// Its path alone.
    Path(String),
    /// Its path, and what it may grow to.
    Sized {
        /// Where jobs find it.
        path: Option<String>,
        /// What it may grow to before it is begun anew.
        size: Option<Size>,
    },
}

impl RawCache {
    /// Its path and its size as they are written.
    pub(in super::super) fn parts(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Path(path) => (Some(path), None),
            Self::Sized { path, size } => {
                (path.as_deref(), size.as_ref().map(|size| size.0.as_str()))
            }
        }
    }
}

impl JsonSchema for RawCache {
    fn schema_name() -> Cow<'static, str> {
        "Cache".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut size = Size::json_schema(generator);
        size.insert(
            "description".to_owned(),
            "What it may grow to before it is begun anew; `2GiB` by default.".into(),
        );
        json_schema!({
            "anyOf": [
                {"title": "a path", "type": "string"},
                {
                    "title": "a map of `path` and `size`",
                    "type": "object",
                    "properties": {
                        "path": {
                            "description": "Where jobs find it, from the root on.",
                            "title": "a path",
                            "type": "string",
                            "examples": ["/work/.cache/pip"]
                        },
                        "size": size
                    },
                    "required": ["path"],
                    "additionalProperties": false
                }
            ],
            "examples": ["/work/.cache/pip"]
        })
    }
}
