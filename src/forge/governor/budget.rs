//! The numbers of a governor: what is left, who goes, who waits until when. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use super::{GovernorView, Silence, Use};
use crate::forge::web::Answer;
use crate::units::Time;

/// GitHub's advice is one change a second; a burst of this many does no harm.
const BURST: u64 = 60;
/// GitHub's limit for a minute, a read counting 1 and a change 5.
const POINTS: u32 = 900;
/// Reads leave this much of it to changes.
const POINTS_FOR_CHANGES: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);
const SECOND_MS: u64 = 1000;
/// The silence after a refusal that names no time; it doubles up to the longest.
const SILENCE: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);
/// A forge that asks for more is asked again after this.
const SILENCE_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Whether a call goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go,
    Wait(Time),
    Refuse(Silence),
}

/// The hour's calls, as the forge counts them.
#[derive(Debug, Clone, Copy)]
struct Hour {
    limit: u64,
    remaining: u64,
    reset: Time,
}

/// A credential's budget.
#[derive(Debug)]
pub(super) struct Budget {
    hour: Option<Hour>,
    silence: Option<Silence>,
    strikes: u32,
    /// When the bucket of changes would be full: each change moves it on by a second.
    full_at: Time,
    points: VecDeque<(Time, u32)>,
    counted: GovernorView,
}

impl Budget {
    pub(super) fn new(now: Time) -> Self {
        Self {
            hour: None,
            silence: None,
            strikes: 0,
            full_at: now,
            points: VecDeque::new(),
            counted: GovernorView::default(),
        }
    }

    /// Takes a call's part out of the budget, or says why not.
    pub(super) fn admit(&mut self, now: Time, use_: Use, is_mutation: bool) -> Admission {
        if let Some(silence) = self.silence(now) {
            return Admission::Refuse(silence);
        }
        if let Some(hour) = self.hour.filter(|hour| hour.reset > now) {
            let reserve = match use_ {
                Use::Read => hour.limit / 5,
                Use::Write => hour.limit / 10,
                Use::Remove => 0,
            };
            if hour.remaining <= reserve {
                let why = format!(
                    "{} of {} calls are left for this hour, and they are kept for more urgent ones",
                    hour.remaining, hour.limit
                );
                return Admission::Refuse(Silence { until: hour.reset + jitter(), why });
            }
        }
        let cost = if is_mutation { 5 } else { 1 };
        if let Some(until) = self.points_free_at(now, cost, is_mutation) {
            return Admission::Wait(until);
        }
        if is_mutation {
            let full = self.full_at.max(now);
            let ahead = full.since(now).as_millis();
            let room = u128::from((BURST - 1) * SECOND_MS);
            if ahead > room {
                return Admission::Wait(
                    full.before(Duration::from_millis((BURST - 1) * SECOND_MS)),
                );
            }
            self.full_at = full + Duration::from_millis(SECOND_MS);
        }
        self.points.push_back((now, cost));
        Admission::Go
    }

    /// When the minute has room for `cost`; none if it has.
    fn points_free_at(&mut self, now: Time, cost: u32, is_mutation: bool) -> Option<Time> {
        let begin = now.before(MINUTE);
        while self.points.front().is_some_and(|(at, _)| *at <= begin) {
            self.points.pop_front();
        }
        let most = if is_mutation { POINTS } else { POINTS - POINTS_FOR_CHANGES };
        let used: u32 = self.points.iter().map(|(_, cost)| cost).sum();
        let mut over = (used + cost).saturating_sub(most);
        if over == 0 {
            return None;
        }
        for (at, cost) in &self.points {
            over = over.saturating_sub(*cost);
            if over == 0 {
                return Some(*at + MINUTE);
            }
        }
        None
    }

    /// What the forge asked for and is not over.
    pub(super) fn silence(&self, now: Time) -> Option<Silence> {
        self.silence.clone().filter(|silence| silence.until > now)
    }

    pub(super) fn refuse(&mut self, silence: Silence) -> Silence {
        self.counted.refused += 1;
        silence
    }

    pub(super) fn begin(&mut self) {
        self.counted.in_flight += 1;
        self.counted.calls += 1;
    }

    pub(super) fn end(&mut self) {
        self.counted.in_flight = self.counted.in_flight.saturating_sub(1);
    }

    /// Reads an answer; tells the silence that follows from it.
    pub(super) fn answered(&mut self, now: Time, answer: &Answer) -> Option<Silence> {
        let status = answer.status.as_u16();
        if status == 304 {
            self.counted.unchanged += 1;
        }
        if answer.status.is_success() {
            self.strikes = 0;
        }
        if status != 403 && status != 429 {
            return None;
        }
        let silence = self.asked_silence(now, answer)?;
        self.counted.limited += 1;
        if self.silence.as_ref().is_none_or(|known| known.until < silence.until) {
            self.silence = Some(silence.clone());
        }
        Some(silence)
    }

    /// `Retry-After`; else the hour's end if it is used up; else a minute, doubling.
    fn asked_silence(&mut self, now: Time, answer: &Answer) -> Option<Silence> {
        let said = said(answer);
        let why = if said.is_empty() { "a limit is passed".to_owned() } else { said.clone() };
        if let Some(wait) = answer.header("retry-after") {
            let wait = wait.trim().parse().map_or(SILENCE, Duration::from_secs).min(SILENCE_LIMIT);
            return Some(Silence { until: now + wait, why });
        }
        if answer.header("x-ratelimit-remaining").map(str::trim) == Some("0") {
            let reset = reset_of(answer).unwrap_or(now + SILENCE);
            let until = reset.max(now).min(now + SILENCE_LIMIT) + jitter();
            return Some(Silence { until, why });
        }
        let said = said.to_ascii_lowercase();
        if answer.status.as_u16() != 429 && !said.contains("rate limit") && !said.contains("abuse")
        {
            return None;
        }
        // Calls that were under way together are refused together: that is one strike.
        if let Some(silence) = self.silence(now) {
            return Some(silence);
        }
        let wait = SILENCE.saturating_mul(1 << self.strikes.min(4)).min(SILENCE_MAX);
        self.strikes += 1;
        Some(Silence { until: now + wait, why })
    }

    /// Reads how many calls the hour has left.
    pub(super) fn read_hour(&mut self, now: Time, answer: &Answer) {
        if answer.header("x-ratelimit-resource").is_some_and(|resource| resource != "core") {
            return;
        }
        let number = |name| answer.header(name).and_then(|text| text.trim().parse::<u64>().ok());
        let (Some(limit), Some(remaining), Some(reset)) =
            (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), reset_of(answer))
        else {
            return;
        };
        // Answers overtake each other: within an hour the smaller number is the later one.
        let remaining = match self.hour {
            Some(hour) if hour.reset == reset && hour.reset > now => remaining.min(hour.remaining),
            _ => remaining,
        };
        self.hour = Some(Hour { limit, remaining, reset });
    }

    pub(super) fn pace(&self, now: Time, calls: u32) -> Duration {
        let Some(hour) = self.hour.filter(|hour| hour.reset > now) else { return Duration::ZERO };
        let spare = hour.remaining.saturating_sub(hour.limit / 5);
        let left = hour.reset.since(now);
        match spare / u64::from(calls.max(1)) {
            0 => left,
            polls => left / u32::try_from(polls).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn view(&self, now: Time) -> GovernorView {
        let hour = self.hour.filter(|hour| hour.reset > now);
        let silence = self.silence(now);
        GovernorView {
            limit: self.hour.map(|hour| hour.limit),
            remaining: hour.map(|hour| hour.remaining),
            reset: hour.map(|hour| hour.reset),
            limited_until: silence.as_ref().map(|silence| silence.until),
            why: silence.map(|silence| silence.why),
            ..self.counted.clone()
        }
    }
}

fn reset_of(answer: &Answer) -> Option<Time> {
    let seconds: u64 = answer.header("x-ratelimit-reset")?.trim().parse().ok()?;
    Some(Time(seconds.saturating_mul(SECOND_MS)))
}

/// The forge's words, bounded.
fn said(answer: &Answer) -> String {
    crate::forge::words::said(&answer.body)
}

/// 1 to 5 seconds, so that fleets with one credential do not all begin again at once.
fn jitter() -> Duration {
    let mut byte = [0u8];
    let drawn = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    let spread = if drawn.is_ok() { u64::from(byte) * 4000 / 255 } else { 0 };
    Duration::from_millis(1000 + spread)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Time = Time(1_700_000_000_000);
    const RESET: &str = "1700001800";

    fn answer(status: u16, headers: &[(&str, &str)], message: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        Answer {
            status: hyper::StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: format!(r#"{{"message":"{message}"}}"#).into(),
        }
    }

    fn hour(status: u16, remaining: &str) -> Answer {
        let headers = [
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", RESET),
            ("x-ratelimit-resource", "core"),
        ];
        answer(status, &headers, "API rate limit exceeded")
    }

    fn hear(budget: &mut Budget, now: Time, answer: &Answer) -> Option<Silence> {
        budget.read_hour(now, answer);
        budget.answered(now, answer)
    }

    #[test]
    fn reads_stop_before_registrations_and_those_before_removals() {
        for (remaining, read, write, remove) in [
            ("1001", true, true, true),
            ("1000", false, true, true),
            ("501", false, true, true),
            ("500", false, false, true),
            ("1", false, false, true),
            ("0", false, false, false),
        ] {
            let mut budget = Budget::new(NOW);
            assert_eq!(hear(&mut budget, NOW, &hour(200, remaining)), None);
            for (use_, goes) in [(Use::Read, read), (Use::Write, write), (Use::Remove, remove)] {
                let admission = budget.admit(NOW, use_, use_ != Use::Read);
                assert_eq!(admission == Admission::Go, goes, "{remaining} {use_:?}");
                if let Admission::Refuse(silence) = admission {
                    let after = silence.until.since(Time(1_700_001_800_000));
                    assert!(after >= Duration::from_secs(1) && after <= Duration::from_secs(5));
                }
            }
            let later = Time(1_700_001_800_001);
            assert_eq!(budget.admit(later, Use::Read, false), Admission::Go, "a new hour");
        }
    }

    #[test]
    fn a_late_answer_does_not_give_calls_back() {
        let mut budget = Budget::new(NOW);
        hear(&mut budget, NOW, &hour(200, "900"));
        hear(&mut budget, NOW, &hour(200, "4000"));
        assert_eq!(budget.view(NOW).remaining, Some(900));
        let other = [
            ("x-ratelimit-limit", "10000"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", RESET),
            ("x-ratelimit-resource", "actions_runner_registration"),
        ];
        hear(&mut budget, NOW, &answer(201, &other, ""));
        assert_eq!(budget.view(NOW).remaining, Some(900), "another resource is another budget");
    }

    #[test]
    fn what_a_refusal_asks_for_is_kept() {
        let cases: [(Answer, Option<u64>); 6] = [
            (answer(403, &[("retry-after", "17")], "slow"), Some(17)),
            (answer(429, &[("retry-after", "x")], "slow"), Some(60)),
            (answer(429, &[], ""), Some(60)),
            (answer(403, &[], "You have exceeded a secondary rate limit"), Some(60)),
            (answer(403, &[], "Resource not accessible by integration"), None),
            (answer(404, &[("retry-after", "17")], "rate limit"), None),
        ];
        for (answer, seconds) in cases {
            let mut budget = Budget::new(NOW);
            let silence = hear(&mut budget, NOW, &answer);
            let until = seconds.map(|seconds| NOW + Duration::from_secs(seconds));
            assert_eq!(silence.map(|silence| silence.until), until, "{answer:?}");
            let admission = budget.admit(NOW, Use::Remove, true);
            assert_eq!(admission == Admission::Go, until.is_none(), "{answer:?}");
            if let Some(until) = until {
                assert_eq!(budget.admit(until, Use::Remove, true), Admission::Go);
            }
        }
        let mut budget = Budget::new(NOW);
        let silence = hear(&mut budget, NOW, &hour(403, "0")).unwrap();
        assert!(silence.until > Time(1_700_001_800_000), "{silence:?}");
    }

    #[test]
    fn refusals_without_a_time_double_but_those_of_one_moment_count_once() {
        let mut budget = Budget::new(NOW);
        let refusal = answer(429, &[], "secondary rate limit");
        let mut now = NOW;
        for minutes in [1, 2, 4, 8, 15, 15] {
            for _ in 0..8 {
                let silence = hear(&mut budget, now, &refusal).unwrap();
                assert_eq!(silence.until.since(now), Duration::from_secs(60 * minutes));
            }
            now = now + Duration::from_secs(60 * minutes);
        }
        hear(&mut budget, now, &answer(200, &[], ""));
        let silence = hear(&mut budget, now, &refusal).unwrap();
        assert_eq!(silence.until.since(now), Duration::from_secs(60), "a success forgets them");
    }

    #[test]
    fn a_minute_never_has_more_than_its_points() {
        let mut budget = Budget::new(NOW);
        let mut reads = 0;
        let until = loop {
            match budget.admit(NOW, Use::Read, false) {
                Admission::Go => reads += 1,
                Admission::Wait(until) => break until,
                Admission::Refuse(silence) => panic!("{silence:?}"),
            }
        };
        assert_eq!((reads, until), (700, NOW + MINUTE));
        let mut changes = 0;
        while budget.admit(NOW, Use::Write, true) == Admission::Go {
            changes += 1;
        }
        assert_eq!(changes, 40, "200 points of 5 each");
        assert_eq!(budget.admit(NOW + MINUTE, Use::Read, false), Admission::Go);
    }

    #[test]
    fn a_burst_of_changes_is_let_through_and_then_one_a_second() {
        let mut budget = Budget::new(NOW);
        let mut go = |now| budget.admit(now, Use::Write, true);
        for _ in 0..60 {
            assert_eq!(go(NOW), Admission::Go);
        }
        let second = Duration::from_secs(1);
        assert_eq!(go(NOW), Admission::Wait(NOW + second));
        assert_eq!(go(NOW + second), Admission::Go);
        assert_eq!(go(NOW + second), Admission::Wait(NOW + second + second));
        let later = NOW + Duration::from_secs(61);
        for _ in 0..60 {
            assert_eq!(go(later), Admission::Go, "full again, and no fuller");
        }
        assert_eq!(go(later), Admission::Wait(later + second));
    }

    #[test]
    fn polls_are_spread_over_the_hour_that_is_left() {
        let mut budget = Budget::new(NOW);
        assert_eq!(budget.pace(NOW, 100), Duration::ZERO);
        hear(&mut budget, NOW, &hour(200, "1600"));
        // 600 calls are to spare for half an hour: six polls of a hundred.
        assert_eq!(budget.pace(NOW, 100), Duration::from_secs(300));
        hear(&mut budget, NOW, &hour(200, "1000"));
        assert_eq!(budget.pace(NOW, 100), Duration::from_secs(1800));
    }
}
