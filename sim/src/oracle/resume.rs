//! Taking the book up in the middle of a run: from the state of a hub that a segment of a record begins with.
//!
//! What the state says of calls, places and gates is taken over as it stands there, in its own words (JSON). It is the
//! one place where the book believes a machine; from there on it goes by inputs and answers again.

use std::time::Duration;

use downbeat_core::machine::{self, CallId, Instant, Outcome, SlotId, TaskKey, Why};
use serde_json::Value;

use super::Jury;
use super::book::{Call, CallKind, Held, Mode, Page, Refusal};
use super::gates::{LinkGate, PollGate, PollKind, Range, TokenGate};
use super::hubs::HubPage;
use crate::record::HubState;

/// The kinds of calls, by bits 32 to 39 of their numbers.
const POLL: u64 = 0;
const REFRESH: u64 = 1;
const REFUSE: u64 = 2;
const REPORT: u64 = 3;
const EXTEND: u64 = 4;

impl Jury {
    /// Goes on from the state of the first hub, whatever was seen before. `None`: the state does not say enough, and
    /// nothing has been taken over.
    pub fn resume(&mut self, state: &HubState) -> Option<()> {
        let hub = self.hubs.first()?;
        let words = serde_json::to_value(state).ok()?;
        let mut pages = Vec::new();
        for (worker, index) in hub.members.iter().zip(0_usize..) {
            let machine = state.members().get(index)?.machine();
            let own = words.get("members")?.get(index)?.get("machine")?;
            let mut page = self.pages.get(*worker as usize)?.anew();
            let snapshot = machine.snapshot();
            page.latest = snapshot.now;
            page.mode = mode(snapshot.mode);
            if page.mode == Mode::Stopped && number(&words, "running") != Some(0) {
                // It has nothing left to do; its process has, and is what the book calls stopped.
                page.mode = Mode::Aborted;
            }
            page.gate = poll_gate(own.get("gate")?, snapshot.poll_gate_why)?;
            fill(&mut page, own)?;
            pages.push((*worker, page));
        }
        let hub = hub_page(hub, &words, &pages)?;
        self.take_over(hub, pages);
        Some(())
    }

    fn take_over(&mut self, hub: HubPage, pages: Vec<(u32, Page)>) {
        for (worker, page) in pages {
            let Some(place) = self.pages.get_mut(worker as usize) else { continue };
            for oracle in &mut self.oracles {
                oracle.life(worker, place);
            }
            *place = page;
        }
        self.oracles.iter_mut().for_each(|oracle| oracle.hub_life(0));
        if let Some(place) = self.hubs.first_mut() {
            *place = hub;
        }
    }
}

fn mode(mode: machine::Mode) -> Mode {
    match mode {
        machine::Mode::Open => Mode::Open,
        machine::Mode::Paused => Mode::Paused,
        machine::Mode::Draining { recall_at } => Mode::Draining { recall_at },
        machine::Mode::Recalling { abort_at } => Mode::Recalling { abort_at },
        machine::Mode::Aborted => Mode::Aborted,
        machine::Mode::Stopped => Mode::Stopped,
    }
}

// -------------------------------------------------------------------- words

fn number(words: &Value, key: &str) -> Option<u64> {
    words.get(key)?.as_u64()
}

fn small<T: TryFrom<u64>>(words: &Value, key: &str) -> Option<T> {
    T::try_from(number(words, key)?).ok()
}

fn time(words: &Value, key: &str) -> Option<Instant> {
    number(words, key).map(Instant::from_micros)
}

fn flag(words: &Value, key: &str) -> Option<bool> {
    words.get(key)?.as_bool()
}

fn text<'w>(words: &'w Value, key: &str) -> Option<&'w str> {
    words.get(key)?.as_str()
}

/// What is there, if it is not `null`.
fn present<'w>(words: &'w Value, key: &str) -> Option<&'w Value> {
    words.get(key).filter(|value| !value.is_null())
}

fn call_id(index: u16, kind: u64, serial: u32) -> CallId {
    CallId::from_bits(u64::from(index) << 40 | kind << 32 | u64::from(serial))
}

// -------------------------------------------------------------------- gates

fn poll_gate(words: &Value, why: Why) -> Option<PollGate> {
    Some(PollGate::known(
        time(words, "at")?,
        why,
        (small(words, "empties")?, small(words, "failures")?, small(words, "refusals")?),
        time(words, "hold")?,
        flag(words, "follow_up")?,
    ))
}

fn hub_page(hub: &HubPage, words: &Value, pages: &[(u32, Page)]) -> Option<HubPage> {
    let mut hub = hub.clone();
    hub.renew();
    hub.latest = time(words, "now")?;
    let auth = words.get("auth")?;
    let refresh = present(auth, "refresh")
        .map(|_| small::<u32>(auth, "refresh"))
        .map_or(Some(None), |it| it.map(Some))?;
    hub.refresh = refresh.map(|serial| call_id(0, REFRESH, serial));
    hub.token = TokenGate::known(flag(auth, "keyed")?, flag(auth, "fresh")?, flag(auth, "proven")?);
    hub.token.unwanted = text(auth, "owner")? == "nobody";
    hub.token.generation = small(auth, "generation")?;
    hub.token.renew_at = time(auth, "renew_at")?;
    hub.token.refreshing = refresh.is_some();
    hub.token.failures = small(auth, "failures")?;
    hub.token.opens = Range::at(time(auth, "at")?);
    let link = words.get("link")?;
    let probe = present(link, "probe").and_then(Value::as_u64).map(|probe| {
        let (worker, serial) = (probe >> 40, probe & u64::from(u32::MAX));
        let member = worker.checked_sub(1).and_then(|index| hub.members.get(usize::try_from(index).ok()?));
        member.map_or(serial, |member| (u64::from(*member) + 1) << 32 | serial)
    });
    hub.link = LinkGate {
        failures: small(link, "failures")?,
        opens: Range::at(time(link, "at")?),
        probe,
        since: hub.latest,
    };
    hub.lanes = pages.iter().map(|(_, page)| page.lanes_taken()).sum();
    hub.polls = pages.iter().filter(|(_, page)| page.poll().is_some()).count();
    Some(hub)
}

// -------------------------------------------------------------------- places and calls

fn fill(page: &mut Page, words: &Value) -> Option<()> {
    let entries = words.get("table")?.get("entries")?.as_array()?;
    if entries.len() != page.places.len() {
        return None;
    }
    for (entry, index) in entries.iter().zip(0_u16..) {
        fill_place(page, entry, index)?;
    }
    if let Some(poll) = present(words, "poll") {
        let kind = match text(poll, "kind")? {
            "short" => PollKind::Short,
            "long" => PollKind::Long,
            _ => PollKind::FollowUp,
        };
        let kind = CallKind::Poll { count: small(poll, "count")?, kind, wait: page.policy.long_poll };
        let (got, ran) = (small(poll, "got")?, flag(poll, "ran")?);
        let call = open(poll, call_id(0, POLL, small(poll, "serial")?), kind)?;
        page.calls.push(Call { got, ran, ..call });
    }
    if let Some(refusal) = present(words, "refusal") {
        fill_refusal(page, refusal)?;
    }
    Some(())
}

fn open(words: &Value, id: CallId, kind: CallKind) -> Option<Call> {
    let (sent, token) = (time(words, "sent")?, small(words, "token")?);
    Some(Call { id, kind, sent, sent_at: sent, token, got: 0, ran: false })
}

fn fill_place(page: &mut Page, entry: &Value, index: u16) -> Option<()> {
    let slot = SlotId::new(index, small(entry, "generation")?);
    let (report, lease) = (present(entry, "report"), present(entry, "lease"));
    if let Some(lease) = lease {
        // The extension of an earlier task of this place may still be under way.
        let whose = match text(lease, "in_flight")? {
            "own" => Some(slot),
            "former" => Some(SlotId::new(index, slot.generation().wrapping_sub(1))),
            _ => None,
        };
        if let Some(slot) = whose {
            let id = call_id(index, EXTEND, small(lease, "serial")?);
            page.calls.push(open(lease, id, CallKind::Extend { slot })?);
        }
    }
    let phase = entry.get("phase")?;
    if phase.as_str() == Some("free") {
        return Some(());
    }
    let runs = matches!(phase.as_str(), Some("running" | "recalled"));
    let mut held = Held::of_state(slot, text(entry, "key").and_then(TaskKey::from_uuid)?);
    held.recalled = phase.as_str() == Some("recalled");
    held.rejected = text(phase, "spent") == Some("rejected");
    held.outcome = (!runs).then_some(Outcome::Final);
    if let Some(report) = report.filter(|_| !runs) {
        fill_report(page, &mut held, report)?;
    }
    if let Some(lease) = lease {
        held.lease = Duration::from_micros(number(lease, "length")?);
        held.extend = Range::at(time(lease, "due")?);
        held.extension_refused = flag(lease, "refused")?;
    }
    page.held += 1;
    page.running += u16::from(runs);
    *page.places.get_mut(usize::from(index))? = Some(held);
    Some(())
}

fn fill_report(page: &mut Page, held: &mut Held, report: &Value) -> Option<()> {
    let callback_after = number(report, "callback_after")?;
    if callback_after != u64::MAX {
        held.outcome = Some(Outcome::Yield { callback_after: Duration::from_micros(callback_after) });
    }
    held.attempt = small(report, "attempt")?;
    held.report = Range::at(time(report, "due")?);
    held.unsure_since = time(report, "unsure_since").filter(|at| *at < Instant::FAR_FUTURE);
    held.settled = flag(report, "settled")?;
    held.refusals = small(report, "refusals")?;
    let slot = held.slot;
    let kind = match text(report, "in_flight")? {
        "update" => CallKind::Update { slot, take_next: false },
        "update_and_take_next" => CallKind::Update { slot, take_next: true },
        "spill" => CallKind::Spill { slot },
        _ => return Some(()),
    };
    held.reporting = true;
    let call = open(report, call_id(slot.index(), REPORT, small(report, "serial")?), kind)?;
    page.calls.push(Call { got: u16::from(flag(report, "brought")?), ran: flag(report, "ran")?, ..call });
    Some(())
}

fn fill_refusal(page: &mut Page, words: &Value) -> Option<()> {
    let id = call_id(0, REFUSE, small(words, "serial")?);
    let with: u32 = small(words, "with")?;
    let bringer = page.calls.iter().find(|call| call.id.serial() == with).map(|call| call.id);
    let in_flight = flag(words, "in_flight")?;
    page.refusal = Some(Refusal {
        call: in_flight.then_some(id),
        with: bringer.unwrap_or_else(|| call_id(0, POLL, with)),
        own_lane: flag(words, "own_lane")?,
        attempt: small(words, "attempt")?,
        expires: time(words, "expires")?,
        unsure: false,
    });
    if in_flight {
        let (sent, token) = (page.latest, small(words, "token")?);
        let kind = CallKind::Refuse;
        page.calls.push(Call { id, kind, sent, sent_at: sent, token, got: 0, ran: false });
    }
    Some(())
}
