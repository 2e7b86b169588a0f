//! What a scenario may ask for at the most. Each limit is in the published schema, as a bound or in words.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

/// Workers of all groups together.
pub(super) const WORKERS_MAX: u32 = 100_000;
/// Processes of one name, each with all the workers of its groups.
pub(super) const COPIES_MAX: u32 = 10_000;
/// Workers in one process.
pub(super) const MEMBERS_MAX: u32 = 10_000;
/// Calls of one process in flight at once: at the least, so that polls leave one for the rest, and at the most.
pub(super) const CALLS_MIN: u16 = 2;
pub(super) const CALLS_MAX: u16 = 1_024;
/// Tasks run at once by one worker.
pub(super) const SLOTS_MAX: u16 = 64;
/// Places in one worker's table.
pub(super) const TABLE_MAX: u16 = 1_024;
/// Parts per million that a clock runs fast or slow: ten percent.
pub(super) const SKEW_MAX: i64 = 100_000;
/// Tasks that may come at once: all of them are in memory together.
pub(super) const BURST_MAX: u32 = 1_000_000;
/// Tasks of all streams together, so that a slip of the pen does not fill the memory.
pub(super) const TASKS_MAX: u64 = 50_000_000;
/// Retries of a task.
pub(super) const RETRIES_MAX: u32 = 1_000;
/// In a hundred.
pub(super) const PERCENT_MAX: u8 = 100;
/// Every length of time in the life of a task.
pub(super) const TASK_TIME_MAX: Duration = DAY.saturating_mul(30);
/// The longest delay between polls, the longest call, the longest way of a message.
pub(super) const CALL_TIME_MAX: Duration = HOUR;
/// The shortest life of a token: renewing one takes a call.
pub(super) const TOKEN_LIFE_MIN: Duration = Duration::from_secs(1);
/// The shortest lease: the server counts in seconds.
pub(super) const LEASE_MIN: Duration = Duration::from_secs(1);

/// Where the schema has each limit, and how it is written there.
#[cfg(test)]
const SAID: [(&str, &str, &str); 31] = [
    ("WORKERS_MAX", "/$defs/Workers/properties/count/maximum", "100000"),
    ("WORKERS_MAX", "/properties/workers/description", "100,000"),
    ("COPIES_MAX", "/$defs/Processes/properties/count/maximum", "10000"),
    ("MEMBERS_MAX", "/$defs/Processes/properties/count/description", "10,000"),
    ("CALLS_MIN", "/$defs/Processes/properties/calls/minimum", "2"),
    ("CALLS_MAX", "/$defs/Processes/properties/calls/maximum", "1024"),
    ("SLOTS_MAX", "/$defs/Workers/properties/slots/maximum", "64"),
    ("TABLE_MAX", "/$defs/Workers/properties/table/maximum", "1024"),
    ("SKEW_MAX", "/$defs/Workers/properties/clock_skew_ppm/maximum", "100000"),
    ("SKEW_MAX", "/$defs/Workers/properties/clock_skew_ppm/minimum", "-100000"),
    ("BURST_MAX", "/$defs/Arrival/oneOf/0/properties/count/maximum", "1000000"),
    ("BURST_MAX", "/$defs/Arrival/oneOf/3/properties/at/maxItems", "1000000"),
    ("TASKS_MAX", "/properties/tasks/description", "50,000,000"),
    ("RETRIES_MAX", "/$defs/Tasks/properties/retries/maximum", "1000"),
    ("PERCENT_MAX", "/$defs/Fault/properties/percent/maximum", "100"),
    ("TASK_TIME_MAX", "/$defs/Tasks/properties/duration/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/Tasks/properties/response_timeout/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/Tasks/properties/retry_delay/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/Tasks/properties/callback_after/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/PolicyChoice/properties/drain_timeout/description", "30d"),
    ("CALL_TIME_MAX", "/$defs/PolicyChoice/properties/poll_interval/description", "1h"),
    ("CALL_TIME_MAX", "/$defs/PolicyChoice/properties/failing_cap/description", "1h"),
    ("CALL_TIME_MAX", "/$defs/PolicyChoice/properties/call_timeout/description", "1h"),
    ("CALL_TIME_MAX", "/$defs/PolicyChoice/properties/report_timeout/description", "1h"),
    ("TASK_TIME_MAX", "/$defs/PolicyChoice/properties/store_after/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/PolicyChoice/properties/ask_interval/description", "30d"),
    ("TASK_TIME_MAX", "/$defs/Tasks/properties/poll_timeout/description", "30d"),
    ("LEASE_MIN", "/$defs/Tasks/properties/poll_timeout/description", "At least 1s"),
    ("CALL_TIME_MAX", "/$defs/Network/properties/latency/description", "1h"),
    ("TOKEN_LIFE_MIN", "/$defs/Server/properties/token_life/description", "at least 1s"),
    ("LEASE_MIN", "/$defs/Tasks/properties/response_timeout/description", "at least 1s"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SAID;

    #[test]
    fn every_limit_of_the_checker_is_in_the_schema() {
        let schema: serde_json::Value = serde_json::from_str(&crate::scenario::schema()).unwrap();
        for (name, place, text) in SAID {
            let said = schema.pointer(place).unwrap_or_else(|| panic!("{name}: nothing at {place}"));
            assert!(said.to_string().contains(text), "{name}: {place} says {said}, not {text}");
        }
        let names =
            include_str!("limits.rs").lines().filter_map(|line| line.strip_prefix("pub(super) const "));
        let names: BTreeSet<&str> = names.filter_map(|rest| rest.split(':').next()).collect();
        let said: BTreeSet<&str> = SAID.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, said);
    }

    #[test]
    fn the_checker_has_no_limit_of_its_own() {
        let checks = include_str!("check.rs").split("impl Workers {").next().unwrap_or_default();
        for (at, line) in checks.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let number = words.into_iter().find(|word| word.parse::<u64>().is_ok_and(|number| number > 1));
            assert_eq!(number, None, "check.rs:{}: {line}", at + 1);
        }
    }
}
