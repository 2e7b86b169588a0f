//! Every rule that is judged.

use crate::oracle::{
    Oracle, l1_every_task_ends, l2_every_result_accepted, l3_a_poll_is_sent, l4_a_drain_ends,
    l5_a_token_is_had, l6_no_starvation, l7_a_pause_ends, l8_idle_is_quiet, l9_fair_turns,
    l10_a_crash_costs_no_lease, s01_conservation, s02_no_result_lost, s03_one_effect,
    s04_no_dangerous_repeat, s05_no_double_run, s06_leases_kept, s07_no_pointless_heartbeat, s08_poll_gate,
    s09_auth_backoff, s10_lanes, s11_capacity, s12_pause, s13_drain, s14_no_spin, s15_time, s16_retry_class,
    s17_stale_inputs, s19_hostile_server, s20_gentle_outage, s21_one_budget, s22_stored_in_time,
    s23_lapses_are_known, s24_not_given_back_late, s25_cancelled_is_dropped, s26_refused_is_replaced,
    s27_one_copy, s28_recovery, s29_one_writer,
};
use crate::scenario::Setting;

/// Every oracle, safety first.
pub(super) fn all(setting: &Setting) -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(s01_conservation::Conservation),
        Box::new(s02_no_result_lost::NoResultLost::new(setting)),
        Box::new(s03_one_effect::OneEffect::default()),
        Box::new(s04_no_dangerous_repeat::NoDangerousRepeat::default()),
        Box::new(s05_no_double_run::NoDoubleRun::new(setting)),
        Box::new(s06_leases_kept::LeasesKept::new(setting)),
        Box::new(s07_no_pointless_heartbeat::NoPointlessHeartbeat),
        Box::new(s08_poll_gate::PollGate),
        Box::new(s09_auth_backoff::AuthBackoff),
        Box::new(s10_lanes::Lanes),
        Box::new(s11_capacity::Capacity),
        Box::new(s12_pause::Pause),
        Box::new(s13_drain::Drain),
        Box::new(s14_no_spin::NoSpin::new(setting)),
        Box::new(s15_time::Time::new(setting)),
        Box::new(s16_retry_class::RetryClass),
        Box::new(s17_stale_inputs::StaleInputs),
        Box::new(s19_hostile_server::HostileServer::once_hostile(setting)),
        Box::new(s20_gentle_outage::GentleOutage::new(setting)),
        Box::new(s21_one_budget::OneBudget),
        Box::new(s22_stored_in_time::StoredInTime),
        Box::new(s23_lapses_are_known::LapsesAreKnown),
        Box::new(s24_not_given_back_late::NotGivenBackLate::default()),
        Box::new(s25_cancelled_is_dropped::CancelledIsDropped::new(setting)),
        Box::new(s26_refused_is_replaced::RefusedIsReplaced),
        Box::new(s27_one_copy::OneCopy),
        Box::new(s28_recovery::Recovery),
        Box::new(s29_one_writer::OneWriter),
        Box::new(l1_every_task_ends::EveryTaskEnds::new(setting)),
        Box::new(l2_every_result_accepted::EveryResultAccepted::new(setting)),
        Box::new(l3_a_poll_is_sent::APollIsSent),
        Box::new(l4_a_drain_ends::ADrainEnds::new(setting)),
        Box::new(l5_a_token_is_had::ATokenIsHad::new(setting)),
        Box::new(l6_no_starvation::NoStarvation::new(setting)),
        Box::new(l7_a_pause_ends::APauseEnds::new(setting)),
        Box::new(l8_idle_is_quiet::IdleIsQuiet::new(setting)),
        Box::new(l9_fair_turns::FairTurns::new(setting)),
        Box::new(l10_a_crash_costs_no_lease::ACrashCostsNoLease::new(setting)),
    ]
}
