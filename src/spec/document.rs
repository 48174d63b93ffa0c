//! A YAML file as a tree in which every node knows its place.
//!
//! Built from the parser's events, because the tree needs what no ready one keeps: the place of a
//! duplicate key, of a key as well as its value, and bounds on what aliases expand to.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as YamlSpan, Tag};

use super::diagnostic::{Findings, Span};
use super::scalar::{Kind, Origin, Quoting, Scalar};

/// Largest file; real fleet files have a few KiB.
pub(super) const FILE_MAX: usize = 1 << 20;

/// Most nodes after aliases were expanded; the largest real fleet files have a thousand. Checks
/// that look names up one by one stay fast under it.
pub(super) const NODES_MAX: usize = 50_000;

/// Deepest nesting; a fleet file needs six levels. It also bounds every recursion over the tree.
const DEPTH_MAX: usize = 32;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it is written.
    pub(super) span: Span,
    /// How it behaves when files are merged.
    pub(super) merging: Merging,
    /// What it is.
    pub(super) value: Value,
}

/// What compose's `!reset` and `!override` ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merging {
    /// Merged with the same key of earlier files.
    Merge,
    /// `!override`: replaces what earlier files said.
    Replace,
    /// `!reset`: removes what earlier files said.
    Reset,
}

/// The three kinds of YAML values.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A text, number, truth value or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key is written.
    pub(super) key_span: Span,
    /// Its value.
    pub(super) value: Node,
}

impl Node {
    /// A scalar made from text, for values that are not written as such.
    pub(super) fn text(span: Span, text: &str, origin: Origin) -> Self {
        let scalar = Scalar { origin, ..Scalar::literal(text.to_owned(), Quoting::Quoted) };
        Self { span, merging: Merging::Merge, value: Value::Scalar(scalar) }
    }

    /// A scalar without a value.
    pub(super) fn unset(span: Span) -> Self {
        let scalar = Scalar::literal(String::new(), Quoting::Plain);
        Self { span, merging: Merging::Merge, value: Value::Scalar(scalar) }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value, if this is a map that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The scalar's text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// How many nodes it has, itself included; the depth is bounded, so recursion is safe.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| 1 + entry.value.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0)
            }
        }
    }
}

/// Reads one file. `None` if it is no tree at all; what is wrong is among the findings then.
pub(super) fn parse(file: usize, text: &str, findings: &mut Findings) -> Option<Node> {
    let start = Span { file, line: 1, column: 1, width: 1 };
    if text.len() > FILE_MAX {
        let message = format!("the file has {} bytes, more than {FILE_MAX}", text.len());
        findings.error(start, message).help("a fleet file describes pools and profiles only");
        return None;
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(file, findings);
    for event in Parser::new_from_str(body) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => builder.refuse_syntax(&error, body),
        };
        if taken.is_err() {
            return None;
        }
    }
    builder.finish(start)
}

/// Reading stops; the reason is among the findings.
struct Stop;

/// A list or map that is not complete yet.
struct Frame {
    span: Span,
    anchor: usize,
    merging: Merging,
    body: Body,
}

enum Body {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Span)>, seen: BTreeMap<String, Span> },
}

struct Builder<'a> {
    file: usize,
    findings: &'a mut Findings,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(file: usize, findings: &'a mut Findings) -> Self {
        let (stack, anchors) = (Vec::new(), BTreeMap::new());
        Self { file, findings, stack, anchors, nodes: 0, documents: 0, root: None }
    }

    fn take(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), Stop> {
        let span = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.start_document(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let quoting = match style {
                    ScalarStyle::Plain => Quoting::Plain,
                    ScalarStyle::SingleQuoted
                    | ScalarStyle::DoubleQuoted
                    | ScalarStyle::Literal
                    | ScalarStyle::Folded => Quoting::Quoted,
                };
                let (merging, quoting) = self.tag(tag.as_deref(), span, quoting);
                let scalar = Scalar::literal(text.into_owned(), quoting);
                let node = Node { span, merging, value: Value::Scalar(scalar) };
                self.keep_anchor(anchor, &node);
                self.place(node)
            }
            Event::SequenceStart(anchor, tag) => {
                let (merging, _) = self.tag(tag.as_deref(), span, Quoting::Plain);
                self.open(Frame { span, anchor, merging, body: Body::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                let (merging, _) = self.tag(tag.as_deref(), span, Quoting::Plain);
                let body = Body::Map { entries: Vec::new(), key: None, seen: BTreeMap::new() };
                self.open(Frame { span, anchor, merging, body })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn start_document(&mut self, span: Span) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        self.findings
            .error(span, "a second YAML document begins here")
            .help("a fleet file is one document; put the other into its own file and add `-f`");
        Err(Stop)
    }

    /// The merge behaviour and the quoting that a tag asks for.
    fn tag(&mut self, tag: Option<&Tag>, span: Span, quoting: Quoting) -> (Merging, Quoting) {
        let Some(tag) = tag else { return (Merging::Merge, quoting) };
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => (Merging::Reset, quoting),
            ("!", "override") => (Merging::Replace, quoting),
            ("tag:yaml.org,2002:", "str") => (Merging::Merge, Quoting::Quoted),
            ("tag:yaml.org,2002:", "int" | "float" | "bool" | "null" | "map" | "seq") => {
                (Merging::Merge, quoting)
            }
            (_, suffix) => {
                self.findings
                    .error(span, format!("the tag `!{suffix}` has no meaning in a fleet file"))
                    .help("only `!reset` and `!override` exist, as in compose");
                (Merging::Merge, quoting)
            }
        }
    }

    fn open(&mut self, frame: Frame) -> Result<(), Stop> {
        if let Some(Frame { body: Body::Map { key: None, .. }, .. }) = self.stack.last() {
            self.findings.error(frame.span, "a key must be a plain text, not a list or a map");
            return Err(Stop);
        }
        if self.stack.len() >= DEPTH_MAX {
            self.findings.error(frame.span, format!("nested deeper than {DEPTH_MAX} levels"));
            return Err(Stop);
        }
        self.stack.push(Frame { span: Span { width: 1, ..frame.span }, ..frame });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.body {
            Body::List(items) => Value::List(items),
            Body::Map { entries, .. } => Value::Map(self.fold_merge_keys(entries)?),
        };
        let node = Node { span: frame.span, merging: frame.merging, value };
        self.keep_anchor(frame.anchor, &node);
        self.place(node)
    }

    fn keep_anchor(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            self.findings
                .error(span, "this alias refers to the value that it is part of")
                .help("write the value out");
            return Err(Stop);
        };
        if self.stack.len() + node.depth() > DEPTH_MAX {
            self.findings.error(span, format!("nested deeper than {DEPTH_MAX} levels"));
            return Err(Stop);
        }
        self.count(node.size(), span)?;
        self.place(node)
    }

    /// Bounds what a file may grow to.
    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        self.findings
            .error(span, format!("with its aliases the file has more than {NODES_MAX} values"))
            .help("aliases of aliases multiply; write the values out");
        Err(Stop)
    }

    /// Puts a finished node where it belongs: as key, value, item or root.
    fn place(&mut self, node: Node) -> Result<(), Stop> {
        self.count(1, node.span)?;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.body {
            Body::List(items) => items.push(node),
            Body::Map { entries, key, seen } => match key.take() {
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: node }),
                None => {
                    let Value::Scalar(scalar) = node.value else {
                        self.findings.error(node.span, "a key must be a plain text");
                        return Err(Stop);
                    };
                    if let Some(first) = seen.insert(scalar.text.clone(), node.span) {
                        self.findings
                            .error(node.span, format!("`{}` is written twice", scalar.text))
                            .help(format!("the first is on line {}; keep one", first.line));
                    }
                    *key = Some((scalar.text, node.span));
                }
            },
        }
        Ok(())
    }

    /// Replaces `<<: *anchor` by the keys of the anchor's map; keys beside it win.
    fn fold_merge_keys(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, Stop> {
        let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.key == "<<");
        for merge in merges {
            let sources = match merge.value.value {
                Value::List(items) => items,
                Value::Map(_) | Value::Scalar(_) => vec![merge.value],
            };
            for source in sources {
                let Value::Map(inherited) = source.value else {
                    self.findings
                        .error(merge.key_span, "`<<` takes a map or a list of maps")
                        .help("write `<<: *name`, where `&name` marks a map");
                    return Err(Stop);
                };
                for entry in inherited {
                    if !own.iter().any(|known| known.key == entry.key) {
                        own.push(entry);
                    }
                }
            }
        }
        Ok(own)
    }

    fn refuse_syntax(&mut self, error: &ScanError, text: &str) -> Result<(), Stop> {
        let lines = text.lines().count().max(1);
        let at_end = error.marker().line() > lines;
        let line = error.marker().line().clamp(1, lines);
        let written = text.lines().nth(line - 1).unwrap_or_default();
        // What is missing at the end of the file is shown behind its last character.
        let column = if at_end { written.chars().count() } else { error.marker().col() } + 1;
        let span = Span { file: self.file, line, column, width: 1 };
        let help = syntax_help(written, error.info(), at_end);
        self.findings.error(span, format!("not valid YAML: {}", error.info())).help(help);
        Err(Stop)
    }

    fn finish(self, start: Span) -> Option<Node> {
        let empty = |node: &Node| match &node.value {
            Value::Scalar(scalar) => scalar.kind() == Kind::Null,
            Value::List(_) | Value::Map(_) => false,
        };
        let Some(root) = self.root.filter(|root| !empty(root)) else {
            self.findings
                .error(start, "the file is empty")
                .help("`slate-fleet init` writes one to begin with");
            return None;
        };
        if let Value::Map(_) = root.value {
            return Some(root);
        }
        self.findings
            .error(root.span, "a fleet file is a map of keys such as `version: 1` and `pools:`");
        None
    }

    fn span(&self, span: YamlSpan) -> Span {
        let (start, end) = (span.start, span.end);
        // A value over several lines is shown by its first line.
        let width =
            if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        let (line, column) = (start.line().max(1), start.col() + 1);
        Span { file: self.file, line, column, width: width.max(1) }
    }
}

/// The likely reason of a syntax error.
fn syntax_help(line: &str, info: &str, at_end: bool) -> &'static str {
    let indent = line.len() - line.trim_start().len();
    let flow = line.split_once(['{', '[']).is_some_and(|(_, rest)| rest.contains("${"));
    if line.get(..indent).is_some_and(|blank| blank.contains('\t')) {
        "the line is indented by a tab; YAML allows only spaces"
    } else if flow && !line.contains("\"${") {
        "inside `{ }` and `[ ]` a variable needs quotes: `\"${NAME}\"`"
    } else if info.contains("alias") || info.contains("anchor") {
        "`*name` needs `&name` earlier in the file; quote a text that starts so"
    } else if at_end {
        "a `[`, `{` or quote may not be closed"
    } else {
        "look at the line's indentation, colons and quotes, and at the line before"
    }
}
