//! The judges of a run: one file for each rule of docs/invariants.md. They see only the events, look up in
//! the [`model`] what the record says so far, and say where a rule was broken.
//!
//! From below: `gates`, `model` and `hubs` are what is known, `rule` is what an oracle is, then one file for each, and
//! `oracles` has them all.

mod follow;
pub mod gates;
pub mod hubs;
pub mod model;
mod oracles;
mod outcome;
mod rule;
mod violation;

mod l10_a_crash_costs_no_lease;
mod l1_every_task_ends;
mod l2_every_result_accepted;
mod l3_a_poll_is_sent;
mod l4_a_drain_ends;
mod l5_a_token_is_had;
mod l6_no_starvation;
mod l7_a_pause_ends;
mod l8_idle_is_quiet;
mod l9_fair_turns;
mod s01_conservation;
mod s02_no_result_lost;
mod s03_one_effect;
mod s04_no_dangerous_repeat;
mod s05_no_double_run;
mod s06_leases_kept;
mod s07_no_pointless_heartbeat;
mod s08_poll_gate;
mod s09_auth_backoff;
mod s10_lanes;
mod s11_capacity;
mod s12_pause;
mod s13_drain;
mod s14_no_spin;
mod s15_time;
mod s16_retry_class;
mod s17_stale_inputs;
pub mod s18_replay;
mod s19_hostile_server;
mod s20_gentle_outage;
mod s21_one_budget;
mod s22_stored_in_time;
mod s23_lapses_are_known;
mod s24_not_given_back_late;
mod s25_cancelled_is_dropped;
mod s26_refused_is_replaced;
mod s27_one_copy;
mod s28_recovery;
mod s29_one_writer;

pub use self::oracles::Oracles;
pub(crate) use self::rule::secs;
pub use self::rule::{HubView, Oracle, Step, Verdict};
pub use self::violation::Violation;
