//! Taking the model up in the middle of a run: from the state of a hub that a segment of a record begins with.
//!
//! What the state says of calls, entries and gates is taken over as it stands there, in its own words (JSON). It is the
//! one place where the model believes a machine; from there on it goes by inputs and answers again.

use std::time::Duration;

use downbeat_core::machine::{self, CallId, EntryId, Instant, Instead, Outcome, TaskKey, Why};
use serde_json::Value;

use super::Oracles;
use crate::oracle::gates::{LinkGate, PollGate, PollKind, Range, TokenGate};
use crate::oracle::hubs::HubModel;
use crate::oracle::model::{Call, CallKind, GiveBack, HeldTask, Lifecycle, Model};
use crate::record::BoxedHub;

/// The kinds of calls, by bits 32 to 39 of their numbers.
const POLL: u64 = 0;
const REFRESH: u64 = 1;
const GIVE_BACK: u64 = 2;
const REPORT: u64 = 3;
const EXTEND: u64 = 4;
const ASK: u64 = 5;

impl Oracles {
    /// Goes on from the state of the first hub, whatever was seen before. `None`: the state does not say enough, and
    /// nothing has been taken over.
    pub fn resume(&mut self, state: &BoxedHub) -> Option<()> {
        let hub = self.hubs.first()?;
        let words = serde_json::to_value(state).ok()?;
        let mut models = Vec::new();
        for (worker, index) in hub.members.iter().zip(0_usize..) {
            let machine = state.members().get(index)?.machine();
            let own = words.get("members")?.get(index)?.get("machine")?;
            let mut model = self.models.get(*worker as usize)?.anew();
            let snapshot = machine.snapshot();
            model.latest = snapshot.now;
            model.lifecycle = lifecycle(snapshot.lifecycle);
            if model.lifecycle == Lifecycle::Stopped && number(&words, "running") != Some(0) {
                // It has nothing left to do; its process has, and is what the model calls stopped.
                model.lifecycle = Lifecycle::Aborted;
            }
            model.slow = flag(own, "slow")?;
            model.accepted = time(own, "accepted")?;
            model.take_next_from = time(own, "take_next_from")?;
            model.gate = poll_gate(own.get("gate")?, snapshot.poll_gate_why)?;
            fill(&mut model, own)?;
            models.push((*worker, model));
        }
        let hub = hub_page(hub, &words, &models)?;
        self.take_over(hub, models);
        Some(())
    }

    fn take_over(&mut self, hub: HubModel, models: Vec<(u32, Model)>) {
        for (worker, model) in models {
            let Some(place) = self.models.get_mut(worker as usize) else { continue };
            for oracle in &mut self.oracles {
                oracle.life(worker, place);
            }
            *place = model;
        }
        self.oracles.iter_mut().for_each(|oracle| oracle.hub_life(0));
        if let Some(place) = self.hubs.first_mut() {
            *place = hub;
        }
    }
}

fn lifecycle(lifecycle: machine::Lifecycle) -> Lifecycle {
    match lifecycle {
        machine::Lifecycle::Open => Lifecycle::Open,
        machine::Lifecycle::Paused => Lifecycle::Paused,
        machine::Lifecycle::Draining { recall_at } => Lifecycle::Draining { recall_at },
        machine::Lifecycle::Recalling { abort_at } => Lifecycle::Recalling { abort_at },
        machine::Lifecycle::Aborted => Lifecycle::Aborted,
        machine::Lifecycle::Stopped => Lifecycle::Stopped,
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

fn hub_page(hub: &HubModel, words: &Value, models: &[(u32, Model)]) -> Option<HubModel> {
    let mut hub = hub.clone();
    hub.renew();
    hub.latest = time(words, "now")?;
    let auth = words.get("auth")?;
    let refresh = present(auth, "refresh")
        .map(|_| small::<u32>(auth, "refresh"))
        .map_or(Some(None), |it| it.map(Some))?;
    hub.refresh = refresh.map(|serial| call_id(0, REFRESH, serial));
    let (keyed, fresh, proven) = (flag(auth, "keyed")?, flag(auth, "fresh")?, flag(auth, "proven")?);
    hub.token = TokenGate::known(keyed, fresh, proven, flag(auth, "forbidden")?);
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
        answered: time(link, "answered")?,
    };
    hub.lanes = models.iter().map(|(_, model)| model.lanes_taken()).sum();
    hub.polls = models.iter().filter(|(_, model)| model.poll().is_some()).count();
    Some(hub)
}

// -------------------------------------------------------------------- entries and calls

fn fill(model: &mut Model, words: &Value) -> Option<()> {
    let entries = words.get("table")?.get("entries")?.as_array()?;
    if entries.len() != model.entries.len() {
        return None;
    }
    for (entry, index) in entries.iter().zip(0_u16..) {
        fill_entry(model, entry, index)?;
    }
    if let Some(poll) = present(words, "poll") {
        let kind = match text(poll, "kind")? {
            "short" => PollKind::Short,
            "long" => PollKind::Long,
            _ => PollKind::FollowUp,
        };
        let kind = CallKind::Poll { count: small(poll, "count")?, kind, wait: model.policy.long_poll };
        let (got, ran) = (small(poll, "got")?, flag(poll, "ran")?);
        let call = open(poll, "sent", call_id(0, POLL, small(poll, "serial")?), kind)?;
        model.calls.push(Call { got, ran, ..call });
    }
    if let Some(give_back) = present(words, "refusal") {
        fill_give_back(model, give_back)?;
    }
    Some(())
}

/// A call in flight; `sent` names the member that says since when.
fn open(words: &Value, sent: &str, id: CallId, kind: CallKind) -> Option<Call> {
    Some(opened(id, kind, time(words, sent)?, small(words, "token")?))
}

fn opened(id: CallId, kind: CallKind, sent: Instant, token: u32) -> Call {
    Call { id, kind, sent, sent_at: sent, token, got: 0, ran: false }
}

fn fill_entry(model: &mut Model, entry: &Value, index: u16) -> Option<()> {
    let here = EntryId::new(index, small(entry, "generation")?);
    let (report, lease) = (present(entry, "report"), present(entry, "lease"));
    // A question, like an extension, may be about an earlier task of this entry.
    let whose = |words: &Value| {
        Some(match text(words, "in_flight")? {
            "own" => Some(here),
            "former" => Some(EntryId::new(index, here.generation().wrapping_sub(1))),
            _ => None,
        })
    };
    if let Some(ask) = present(entry, "ask")
        && let Some(of) = whose(ask)?
    {
        let (id, token) = (call_id(index, ASK, small(ask, "serial")?), small(ask, "token")?);
        model.calls.push(opened(id, CallKind::Ask { entry: of }, model.latest, token));
    }
    if let Some(lease) = lease {
        let call = lease.get("call")?;
        if let Some(of) = whose(call)? {
            let (id, token) = (call_id(index, EXTEND, small(call, "serial")?), small(call, "token")?);
            // That of an earlier task says nothing of this one's lease, whenever it was sent.
            let sent = if of == here { time(lease, "at")? } else { model.latest };
            model.calls.push(opened(id, CallKind::Extend { entry: of }, sent, token));
        }
    }
    let phase = entry.get("phase")?;
    if phase.as_str() == Some("free") {
        return Some(());
    }
    let runs = matches!(phase.as_str(), Some("running" | "recalled"));
    let mut held = HeldTask::from_state(here, text(entry, "key").and_then(TaskKey::from_uuid)?);
    held.recalled = phase.as_str() == Some("recalled");
    held.rejected = text(phase, "spent") == Some("rejected");
    held.ended = flag(entry, "ended")? || text(phase, "spent") == Some("ended");
    held.give_back_until = time(entry, "give_back_until")?;
    held.outcome = (!runs).then_some(Outcome::Final);
    if let Some(report) = report.filter(|_| runs && model.policy.ask_interval.is_some()) {
        held.ask = Some(Range::at(time(report, "at")?));
    }
    if let Some(report) = report.filter(|_| !runs) {
        fill_report(model, &mut held, report)?;
    }
    if let Some(lease) = lease {
        held.lease = Duration::from_micros(number(lease, "length")?);
        held.extend = Range::at(time(lease, "at")?);
        held.lapses = time(lease, "ends")?;
        held.extension_unauthorized = flag(lease.get("call")?, "refused")?;
    }
    model.held += 1;
    model.running += u16::from(runs);
    *model.entries.get_mut(usize::from(index))? = Some(held);
    Some(())
}

fn fill_report(model: &mut Model, held: &mut HeldTask, report: &Value) -> Option<()> {
    let (callback_after, mark) = (number(report, "callback_after")?, time(report, "mark")?);
    if callback_after == u64::MAX {
        held.store_by = mark;
    } else {
        held.outcome = Some(Outcome::Yield { callback_after: Duration::from_micros(callback_after) });
        held.unsure_since = Some(mark).filter(|at| *at < Instant::FAR_FUTURE);
    }
    held.attempt = small(report, "attempt")?;
    held.report = Range::at(time(report, "at")?);
    held.settled = flag(report, "settled")?;
    held.unauthorized = small(report, "refusals")?;
    let refused = small(report, "refused")?;
    held.refused = (refused, refused);
    held.instead = match present(report, "instead") {
        Some(why) => Some(serde_json::from_value(why.clone()).ok()?),
        None => None,
    };
    held.poisoned = held.instead == Some(Instead::Refused);
    held.yielded =
        matches!(held.outcome, Some(Outcome::Yield { .. })) || held.instead == Some(Instead::PollTimeout);
    let entry = held.entry;
    let kind = match text(report, "in_flight")? {
        "update" => CallKind::Update { entry, take_next: false, instead: held.instead },
        "update_and_take_next" => CallKind::Update { entry, take_next: true, instead: held.instead },
        "spill" => CallKind::Spill { entry },
        _ => return Some(()),
    };
    held.reporting = true;
    let call = open(report, "at", call_id(entry.index(), REPORT, small(report, "serial")?), kind)?;
    model.calls.push(Call { got: u16::from(flag(report, "brought")?), ran: flag(report, "ran")?, ..call });
    Some(())
}

fn fill_give_back(model: &mut Model, words: &Value) -> Option<()> {
    let id = call_id(0, GIVE_BACK, small(words, "serial")?);
    let with: u32 = small(words, "with")?;
    let bringer = model.calls.iter().find(|call| call.id.serial() == with).map(|call| call.id);
    let in_flight = flag(words, "in_flight")?;
    model.give_back = Some(GiveBack {
        call: in_flight.then_some(id),
        with: bringer.unwrap_or_else(|| call_id(0, POLL, with)),
        own_lane: flag(words, "own_lane")?,
        attempt: small(words, "attempt")?,
        expires: time(words, "expires")?,
        unsure: false,
    });
    if in_flight {
        let (sent, token) = (model.latest, small(words, "token")?);
        let kind = CallKind::GiveBack;
        model.calls.push(Call { id, kind, sent, sent_at: sent, token, got: 0, ran: false });
    }
    Some(())
}
