//! JUnit's XML, as test runners write it: the tests are counted, not the totals believed.
//!
//! There is no published standard; the elements are those that pytest, Jest, Playwright, Maven and
//! `cargo nextest` write: `testsuites`, `testsuite`, `testcase`, and in it `failure`, `error` or
//! `skipped`. Entities of a document type are never expanded: the reader knows none.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{TestCounts, TestFailure, first_line};

/// Deeper nesting is no test report.
const DEPTH_MAX: usize = 64;
/// Bytes of a failure's text that are looked at for its first line.
const BODY_MAX: usize = 4096;

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Junit {
    pub counts: TestCounts,
    pub failures: Vec<TestFailure>,
}

/// A test that is being read.
#[derive(Default)]
struct Case {
    name: String,
    ending: Ending,
    message: String,
    /// Whether the text of a failure is being read.
    in_failure: bool,
}

/// How a test ended; the worst that is said of it.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    #[default]
    Passed,
    Skipped,
    Failed,
}

/// Reads a file; none if it is no JUnit file. At most `most` failures are told.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(text: &str, source: &str, most: usize) -> Result<Option<Junit>, String> {
    let mut reader = Reader::from_str(text);
    let mut found = Junit::default();
    let (mut depth, mut has_begun, mut case) = (0_usize, false, None::<Case>);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if depth == 0 && !is_root(&start) {
                    return Ok(None);
                }
                has_begun = true;
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("it is nested deeper than {DEPTH_MAX} elements"));
                }
                begin(&start, &mut case, &mut found);
            }
            Event::Empty(start) => {
                if depth == 0 && !is_root(&start) {
                    return Ok(None);
                }
                has_begun = true;
                begin(&start, &mut case, &mut found);
                end(start.local_name().as_ref(), &mut case, &mut found, (source, most));
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                end(tag.local_name().as_ref(), &mut case, &mut found, (source, most));
            }
            Event::Text(text) => note(&mut case, &text.xml10_content()),
            Event::CData(text) => note(&mut case, &text.xml10_content()),
            Event::GeneralRef(reference) => note(&mut case, &resolved(&reference)),
            Event::Eof if depth > 0 => return Err("it ends in the middle".to_owned()),
            Event::Eof => return Ok(has_begun.then_some(found)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn is_root(start: &BytesStart<'_>) -> bool {
    matches!(start.local_name().as_ref(), "testsuites" | "testsuite")
}

fn begin(start: &BytesStart<'_>, case: &mut Option<Case>, found: &mut Junit) {
    let ending = match (start.local_name().as_ref(), &case) {
        ("testcase", _) => {
            let took = attribute(start, "time").replace(',', "").parse().unwrap_or(0.0);
            found.counts.took_ms = found.counts.took_ms.saturating_add(millis(took));
            let parts = [attribute(start, "classname"), attribute(start, "name")];
            let said = parts.iter().filter(|part| !part.is_empty()).map(|part| first_line(part));
            let name = said.collect::<Vec<String>>().join(" › ");
            *case = Some(Case { name, ..Case::default() });
            return;
        }
        ("failure" | "error", Some(_)) => Ending::Failed,
        ("skipped", Some(_)) => Ending::Skipped,
        _ => return,
    };
    let Some(case) = case else { return };
    case.ending = case.ending.max(ending);
    if ending == Ending::Failed && case.message.is_empty() {
        case.message = attribute(start, "message");
        case.in_failure = case.message.is_empty();
    }
}

fn end(tag: &str, case: &mut Option<Case>, found: &mut Junit, (source, most): (&str, usize)) {
    match tag {
        "failure" | "error" => {
            if let Some(case) = case {
                case.in_failure = false;
            }
        }
        "testcase" => {
            let Some(case) = case.take() else { return };
            let count = match case.ending {
                Ending::Passed => &mut found.counts.passed,
                Ending::Skipped => &mut found.counts.skipped,
                Ending::Failed => &mut found.counts.failed,
            };
            *count = count.saturating_add(1);
            if case.ending == Ending::Failed && found.failures.len() < most {
                let message = first_line(&case.message);
                let source = source.to_owned();
                found.failures.push(TestFailure { name: case.name, message, source });
            }
        }
        _ => {}
    }
}

/// Keeps the beginning of a failure's text.
fn note(case: &mut Option<Case>, text: &str) {
    if let Some(case) = case.as_mut().filter(|case| case.in_failure)
        && case.message.len() < BODY_MAX
    {
        case.message.extend(text.chars().take(BODY_MAX));
    }
}

/// A character by its number, or one of the five that XML itself names; others stay as written.
fn resolved(reference: &quick_xml::events::BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        Ok(None) | Err(_) => {
            let name = reference.xml10_content();
            let known = quick_xml::escape::resolve_predefined_entity(&name);
            known.map_or_else(|| format!("&{name};"), str::to_owned)
        }
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let Ok(Some(found)) = start.try_get_attribute(name) else { return String::new() };
    match found.normalized_value(XmlVersion::Implicit1_0) {
        Ok(value) => value.into_owned(),
        // An entity that XML does not know: the text as it stands says more than none.
        Err(_) => found.value.into_owned(),
    }
}

/// Seconds of a file as milliseconds; what is no time counts as none.
fn millis(seconds: f64) -> u64 {
    const DAY: f64 = 86_400.0;
    match seconds.is_finite() && (0.0..=DAY).contains(&seconds) {
        true => u64::try_from(std::time::Duration::from_secs_f64(seconds).as_millis()).unwrap_or(0),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> (u32, u32, u32) {
        let found = read(text, "junit.xml", 20).expect("well-formed").expect("a JUnit file");
        (found.counts.passed, found.counts.failed, found.counts.skipped)
    }

    const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="9" tests="4"
 time="0.112"><testcase classname="tests.test_a" name="test_ok" time="0.001" />
<testcase classname="tests.test_a" name="test_bad[a&amp;b]" time="0.025"><failure
 message="assert 1 == 2&#10; +  where 1 = f()">def test_bad():
&gt;       assert 1 == 2</failure></testcase>
<testcase classname="tests.test_a" name="test_later" time="0"><skipped type="pytest.skip"
 message="later">x</skipped></testcase>
<testcase name="test_error" time="1,000.5"><error><![CDATA[

Traceback <most recent>
]]></error><system-out><failure/></system-out></testcase></testsuite></testsuites>"#;

    #[test]
    fn tests_are_counted_and_the_first_failures_told() {
        let found = read(PYTEST, "junit.xml", 20).expect("well-formed").expect("a JUnit file");
        assert_eq!(counts(PYTEST), (1, 2, 1), "the totals of the file are not believed");
        assert_eq!(found.counts.took_ms, 1 + 25 + 1_000_500);
        let told: Vec<(&str, &str)> =
            found.failures.iter().map(|it| (it.name.as_str(), it.message.as_str())).collect();
        let first = ("tests.test_a › test_bad[a&b]", "assert 1 == 2");
        assert_eq!(told, [first, ("test_error", "Traceback <most recent>")]);
        let fewer = read(PYTEST, "junit.xml", 1).expect("well-formed").expect("a JUnit file");
        assert_eq!((fewer.failures.len(), fewer.counts.failed), (1, 2));
    }

    #[test]
    fn suites_may_be_nested_alone_or_empty() {
        assert_eq!(counts("<testsuite><testcase name='a'/></testsuite>"), (1, 0, 0));
        let nested = "<testsuites><testsuite><testsuite><testcase name='a'><failure/></testcase>\
                      </testsuite><testcase name='b'/></testsuite></testsuites>";
        assert_eq!(counts(nested), (1, 1, 0));
        assert_eq!(counts("<testsuites/>"), (0, 0, 0));
    }

    #[test]
    fn other_documents_are_no_results() {
        for text in ["", "plain", "<coverage line-rate='1'/>", "<html><testsuite/></html>"] {
            assert_eq!(read(text, "a.xml", 20), Ok(None), "{text}");
        }
    }

    #[test]
    fn hostile_files_are_bounded_and_expand_nothing() {
        let bomb = "<!DOCTYPE t [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY x SYSTEM \
                    'file:///etc/passwd'>]><testsuite><testcase name='&b;'><failure>&b;&x;\
                    </failure></testcase></testsuite>";
        let found = read(bomb, "a.xml", 20).expect("well-formed").expect("a JUnit file");
        assert_eq!(found.failures.first().map(|it| it.message.as_str()), Some("&b;&x;"));
        let deep = format!("<testsuite>{}", "<a>".repeat(DEPTH_MAX));
        assert!(read(&deep, "a.xml", 20).expect_err("too deep").contains("nested"));
        assert!(read("<testsuite><testcase>", "a.xml", 20).is_err());
        assert!(read("<testsuite></testcase>", "a.xml", 20).is_err());
        let long = format!(
            "<testsuite><testcase><failure>{}</failure></testcase></testsuite>",
            "x".repeat(100_000)
        );
        let found = read(&long, "a.xml", 20).expect("well-formed").expect("a JUnit file");
        assert!(found.failures.iter().all(|it| it.message.len() < 400), "bounded");
        assert_eq!(counts("<testsuite><testcase time='-1e400'/></testsuite>"), (1, 0, 0));
    }
}
