//! Rate limits: the hour's requests, the minute's points, and silence that was asked for.

use serde_json::json;

use crate::reply::Reply;
use crate::world::World;

/// What one credential used up.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    pub used: u64,
    /// When the hour ends.
    pub reset: i64,
    pub minute: i64,
    pub points: u64,
    pub quiet_until: i64,
    pub mutation: i64,
    /// Mutations less than a second after the last one.
    pub hasty: u64,
}

const HOUR: i64 = 3_600_000;

impl World {
    /// Whether this call may go on; if not, the answer.
    pub fn limit(&mut self, name: &str, method: &str, path: &str) -> Option<Reply> {
        let now = self.now();
        let (limit, points) = (self.settings.primary_limit, self.settings.points_limit);
        let mutation = method != "GET";
        let bucket = self.buckets.entry(name.to_owned()).or_default();
        if now >= bucket.reset {
            (bucket.used, bucket.reset) = (0, now + HOUR);
        }
        if now - bucket.minute >= 60_000 {
            (bucket.points, bucket.minute) = (0, now);
        }
        if now < bucket.quiet_until {
            bucket.quiet_until += 1000;
            let left = bucket.quiet_until - now;
            self.violation(format!("{method} {path}: silence was asked for"));
            return Some(self.secondary(left));
        }
        bucket.points += if mutation { 5 } else { 1 };
        if mutation {
            bucket.hasty += u64::from(now - bucket.mutation < 1000);
            bucket.mutation = now;
        }
        if bucket.points > points {
            let left = 60_000 - (now - bucket.minute);
            bucket.quiet_until = now + left;
            self.violation(format!("{method} {path}: more than {points} points a minute"));
            return Some(self.secondary(left));
        }
        if bucket.used >= limit {
            let body = json!({"message": format!("API rate limit exceeded for {name}.")});
            return Some(self.with_limits(Reply::json(self.settings.limit_status, body), name));
        }
        bucket.used += 1;
        None
    }

    /// An answer of the secondary limit; the words are GitHub's.
    pub fn secondary(&self, left: i64) -> Reply {
        let body = json!({
            "message": "You have exceeded a secondary rate limit. Please wait a few minutes before \
                        you try again.",
            "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api",
        });
        let reply = Reply::json(self.settings.limit_status, body);
        match self.settings.silent_limits {
            true => reply,
            false => reply.header("retry-after", &(left / 1000 + 1).to_string()),
        }
    }

    /// A 304 does not count.
    pub fn refund(&mut self, name: &str) {
        if let Some(bucket) = self.buckets.get_mut(name) {
            bucket.used = bucket.used.saturating_sub(1);
        }
    }

    pub fn with_limits(&self, reply: Reply, name: &str) -> Reply {
        let limit = self.settings.primary_limit;
        let bucket = self.buckets.get(name).cloned().unwrap_or_default();
        reply
            .header("x-ratelimit-limit", &limit.to_string())
            .header("x-ratelimit-remaining", &limit.saturating_sub(bucket.used).to_string())
            .header("x-ratelimit-used", &bucket.used.to_string())
            .header("x-ratelimit-reset", &(bucket.reset / 1000).to_string())
            .header("x-ratelimit-resource", "core")
    }

    pub fn rate_limit(&self, name: &str) -> Reply {
        let limit = self.settings.primary_limit;
        let bucket = self.buckets.get(name).cloned().unwrap_or_default();
        let core = json!({
            "limit": limit, "used": bucket.used,
            "remaining": limit.saturating_sub(bucket.used), "reset": bucket.reset / 1000,
        });
        let registration = json!({
            "limit": 10_000, "used": 0, "remaining": 10_000, "reset": bucket.reset / 1000,
        });
        let resources = json!({"core": core, "actions_runner_registration": registration});
        Reply::json(200, json!({"resources": resources, "rate": core}))
    }
}
