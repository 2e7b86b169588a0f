//! Many workers, one token, one budget of calls: whose turn it is, and what they share.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other action fails the test")]
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, Entry, EntryId, Fault, Hub, HubAction, HubInput, HubPolicy,
    Input, Instant, Machine, Member, Outcome, Policy, RecallReason, Reply, TaskKey, TaskMeta, Why,
};

type Table = Box<[Entry]>;
type BoxedHub = Hub<Box<[Member<Table>]>, Table>;

fn hub_of(workers: usize, policy: Policy, shared: HubPolicy) -> BoxedHub {
    let member = |seed: usize| {
        let table = vec![Entry::FREE; 8].into_boxed_slice();
        Member::new(Machine::with_storage(table, policy, seed as u64).unwrap())
    };
    Hub::new((0..workers).map(member).collect(), shared, 7).unwrap()
}

fn exact() -> (Policy, HubPolicy) {
    let mut shared = HubPolicy::default();
    shared.failing.jitter = 0;
    shared.auth.jitter = 0;
    let mut policy = Policy { poll_interval: Duration::from_millis(1), ..Policy::default() };
    policy.failing.jitter = 0;
    policy.auth.jitter = 0;
    (policy, shared)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn tick(hub: &mut BoxedHub, millis: u64) -> HubAction {
    hub.step(at(millis), HubInput::Tick)
}

fn reply(hub: &mut BoxedHub, millis: u64, worker: u16, call: CallId, reply: Reply) -> HubAction {
    hub.step(at(millis), HubInput::Worker { worker, input: Input::Replied { call, reply } })
}

fn poll(action: HubAction) -> (u16, CallId) {
    match action {
        HubAction::Worker { worker, action: Action::Poll { call, .. } } => (worker, call),
        other => panic!("expected a poll, got {other:?}"),
    }
}

/// Ticks until the hub waits, and lists the polls it asked for.
fn polls(hub: &mut BoxedHub, millis: u64) -> Vec<(u16, CallId)> {
    polls_and_wait(hub, millis).0
}

fn polls_and_wait(hub: &mut BoxedHub, millis: u64) -> (Vec<(u16, CallId)>, Option<Instant>) {
    let mut all = Vec::new();
    loop {
        match tick(hub, millis) {
            HubAction::Wait { until, .. } => return (all, until),
            action => all.push(poll(action)),
        }
    }
}

#[test]
fn polls_use_three_quarters_of_the_budget_and_go_in_turn() {
    let (policy, shared) = exact();
    let mut hub = hub_of(40, policy, HubPolicy { max_calls: 8, ..shared });
    let first = polls(&mut hub, 0);
    assert_eq!(first.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let mut queue: VecDeque<_> = first.into();
    let mut seen = vec![0_u32; 40];
    for now in 1..=400 {
        let (worker, call) = queue.pop_front().unwrap();
        seen[usize::from(worker)] += 1;
        let action = reply(&mut hub, now, worker, call, Ok(Answer::Done));
        queue.push_back(poll(action));
    }
    assert!(seen.iter().all(|times| *times == 10), "{seen:?}");
}

#[test]
fn one_hot_queue_starves_no_other() {
    let (policy, shared) = exact();
    let mut hub = hub_of(20, policy, HubPolicy { max_calls: 4, ..shared });
    let mut queue: VecDeque<_> = polls(&mut hub, 0).into();
    let mut polled = [0_u32; 20];
    let mut key = 0;
    for now in 1..2_000 {
        let Some((worker, call)) = queue.pop_front() else { panic!("nothing in flight") };
        polled[usize::from(worker)] += 1;
        let mut todo = VecDeque::new();
        if worker == 3 {
            key += 1;
            let task = TaskMeta::new(TaskKey::from_u128(key), None);
            let input = Input::Leased { call, task };
            let action = hub.step(at(now), HubInput::Worker { worker, input });
            let HubAction::Worker { action: Action::Run { entry, .. }, .. } = action else {
                panic!("{action:?}")
            };
            todo.push_back(Input::Finished { entry, outcome: Outcome::Final });
        }
        let mut action = reply(&mut hub, now, worker, call, Ok(Answer::Done));
        loop {
            match action {
                HubAction::Wait { .. } if todo.is_empty() => break,
                HubAction::Wait { .. } => {}
                HubAction::Worker { worker, action: Action::Poll { call, .. } } => {
                    queue.push_back((worker, call))
                }
                HubAction::Worker { worker, action: Action::Update { call, .. } } => {
                    assert_eq!(worker, 3);
                    todo.push_back(Input::Replied { call, reply: Ok(Answer::Done) });
                }
                other => panic!("{other:?}"),
            }
            let input = todo.pop_front();
            let input = input.map_or(HubInput::Tick, |input| HubInput::Worker { worker: 3, input });
            action = hub.step(at(now), input);
        }
    }
    let least = polled.iter().min().unwrap();
    assert!(*least >= 80, "{polled:?}");
}

#[test]
fn the_last_lanes_are_for_obligations() {
    let (policy, shared) = exact();
    let mut hub = hub_of(9, policy, HubPolicy { max_calls: 4, ..shared });
    let flying = polls(&mut hub, 0);
    assert_eq!(flying.len(), 3);
    let (worker, call) = flying[0];
    let task = TaskMeta::new(TaskKey::from_u128(1), Some(Duration::from_secs(1)));
    let leased = hub.step(at(1), HubInput::Worker { worker, input: Input::Leased { call, task } });
    assert!(matches!(leased, HubAction::Worker { action: Action::Run { .. }, .. }));
    let _ = poll(reply(&mut hub, 1, worker, call, Ok(Answer::Done)));
    assert!(matches!(tick(&mut hub, 800), HubAction::Worker { action: Action::Extend { .. }, .. }));
    assert_eq!(hub.calls_in_flight(), 4);
}

#[test]
fn one_refresh_serves_all_workers() {
    let (policy, shared) = exact();
    let mut hub = hub_of(5, policy, HubPolicy { authenticated: true, ..shared });
    let HubAction::Refresh { call } = tick(&mut hub, 0) else { panic!() };
    assert_eq!(tick(&mut hub, 0), HubAction::Wait { until: None, why: Why::Auth });
    let token = Ok(Answer::Token { valid_for: Some(Duration::from_secs(100)) });
    let first = poll(hub.step(at(5), HubInput::Refreshed { call, reply: token }));
    let mut flying = polls(&mut hub, 5);
    flying.insert(0, first);
    assert_eq!(flying.len(), 5);
    // One poll is accepted, so that the token has been good; the others get a 401 together.
    let next = poll(reply(&mut hub, 6, flying[0].0, flying[0].1, Ok(Answer::Done)));
    let unauthorized = || Err(CallError::new(Fault::Unauthorized));
    let HubAction::Refresh { call } = reply(&mut hub, 7, flying[1].0, flying[1].1, unauthorized()) else {
        panic!()
    };
    for (worker, call) in &flying[2..] {
        assert!(matches!(reply(&mut hub, 7, *worker, *call, unauthorized()), HubAction::Wait { .. }));
    }
    let token = Ok(Answer::Token { valid_for: None });
    let _ = poll(hub.step(at(8), HubInput::Refreshed { call, reply: token }));
    let _ = polls(&mut hub, 8);
    // The 401 of a call that was sent with the old token starts no refresh.
    assert!(!matches!(reply(&mut hub, 9, next.0, next.1, unauthorized()), HubAction::Refresh { .. }));
    assert_eq!(hub.token_generation(), Some(2));
}

#[test]
fn without_tokens_a_401_quiets_all_workers() {
    let (policy, shared) = exact();
    let mut hub = hub_of(3, policy, shared);
    let flying = polls(&mut hub, 0);
    let mut last = HubAction::Stopped;
    for (worker, call) in flying {
        last = reply(&mut hub, 1, worker, call, Err(CallError::new(Fault::Unauthorized)));
    }
    assert_eq!(last, HubAction::Wait { until: Some(at(2_001)), why: Why::Auth });
    assert_eq!(polls(&mut hub, 2_001).len(), 3);
}

#[test]
fn an_unreachable_server_sees_one_call_per_delay_from_all_workers_together() {
    let (policy, shared) = exact();
    let mut hub = hub_of(10, policy, shared);
    let mut flying = polls(&mut hub, 0);
    let mut sent = 0;
    let mut now = 0;
    while now < 60_000 {
        for (worker, call) in flying.drain(..) {
            sent += 1;
            let _ = reply(&mut hub, now, worker, call, Err(CallError::new(Fault::NotSent)));
        }
        let (next, until) = polls_and_wait(&mut hub, now);
        assert!(next.len() <= 1, "at {now}: {next:?}");
        now = if next.is_empty() { until.unwrap().as_millis() } else { now };
        flying = next;
    }
    assert!(sent <= 10 + 5 + 12, "{sent} connections in a minute");
}

#[test]
fn a_drained_hub_stops_when_its_last_worker_has() {
    let (policy, shared) = exact();
    let mut hub = hub_of(3, policy, shared);
    let flying = polls(&mut hub, 0);
    let mut action = hub.step(at(1), HubInput::Control(Control::Drain));
    for (worker, call) in flying {
        assert!(matches!(action, HubAction::Wait { .. }));
        action = reply(&mut hub, 2, worker, call, Ok(Answer::Done));
    }
    assert_eq!(action, HubAction::Stopped);
    assert_eq!(tick(&mut hub, 3), HubAction::Stopped);
}

/// SplitMix64, so that a failing case is a number.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// What is in flight, and when it ends.
#[derive(Default)]
struct World {
    ends: BTreeMap<(Instant, u32), HubInput>,
    made: u32,
    polls: BTreeMap<CallId, u16>,
    keys: u128,
}

impl World {
    fn end(&mut self, at: Instant, input: HubInput) {
        self.made += 1;
        self.ends.insert((at, self.made), input);
    }

    /// Performs an action: its end comes later, and goes well or badly.
    fn perform(&mut self, now: Instant, action: HubAction, random: &mut Random) {
        let faults = [Fault::NotSent, Fault::Unknown, Fault::Server, Fault::Unauthorized, Fault::Throttled];
        let bad = random.next(4) == 0;
        let fault = faults[usize::try_from(random.next(5)).unwrap()];
        let result = if bad { Err(CallError::new(fault)) } else { Ok(Answer::Done) };
        let later = now.saturating_add(Duration::from_millis(random.next(50)));
        match action {
            HubAction::Refresh { call } => {
                let reply = result.map(|_| Answer::Token { valid_for: Some(Duration::from_secs(5)) });
                self.end(later, HubInput::Refreshed { call, reply });
            }
            HubAction::Worker { worker, action } => match action {
                Action::Poll { call, .. } => {
                    for _ in 0..random.next(3) {
                        self.keys += 1;
                        let task = TaskMeta::new(TaskKey::from_u128(self.keys), Some(Duration::from_secs(1)));
                        self.end(later, HubInput::Worker { worker, input: Input::Leased { call, task } });
                    }
                    self.end(
                        later,
                        HubInput::Worker { worker, input: Input::Replied { call, reply: result } },
                    );
                    self.polls.insert(call, worker);
                }
                Action::Update { call, .. }
                | Action::Extend { call, .. }
                | Action::Ask { call, .. }
                | Action::GiveBack { call, .. }
                | Action::Spill { call, .. } => {
                    self.end(
                        later,
                        HubInput::Worker { worker, input: Input::Replied { call, reply: result } },
                    );
                }
                Action::Run { entry, .. } => self.finish(now, worker, entry, random),
                Action::Ignore { .. }
                | Action::Recall { .. }
                | Action::Lapsed { .. }
                | Action::Adopt { .. }
                | Action::Discard { .. } => {}
                other => panic!("a hub never passes on {other:?}"),
            },
            HubAction::Wait { .. } | HubAction::Stopped => {}
        }
    }

    fn finish(&mut self, now: Instant, worker: u16, entry: EntryId, random: &mut Random) {
        let at = now.saturating_add(Duration::from_millis(random.next(3_000)));
        self.end(at, HubInput::Worker { worker, input: Input::Finished { entry, outcome: Outcome::Final } });
    }
}

#[test]
fn a_stormy_server_breaks_no_bound_and_every_hub_drains() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let policy = Policy { concurrency: 3, ..Policy::default() };
        let shared = HubPolicy { max_calls: 5, authenticated: seed % 2 == 0, ..HubPolicy::default() };
        let mut hub = hub_of(4, policy, shared);
        let mut world = World::default();
        let mut now = Instant::ZERO;
        let mut input = HubInput::Tick;
        let mut steps = 0;
        let mut drained = false;
        loop {
            let mut twin = hub.clone();
            let action = hub.step(now, input);
            assert_eq!(twin.step(now, input), action, "seed {seed}");
            assert!(twin == hub, "seed {seed}");
            // A give-back may inherit the lane of its poll while another poll starts: one more, per worker.
            assert!(hub.calls_in_flight() <= 5 + 4, "seed {seed}");
            steps += 1;
            assert!(steps < 60_000, "seed {seed}: does not end");
            input = HubInput::Tick;
            match action {
                HubAction::Stopped => break,
                HubAction::Wait { until, .. } => {
                    assert!(until.is_none_or(|until| until > now), "seed {seed}");
                    let next = world.ends.first_key_value().map(|((at, _), _)| *at);
                    let next = [next, until].into_iter().flatten().min();
                    now = next.unwrap_or_else(|| panic!("seed {seed}: waits for nothing: {hub:?}")).max(now);
                    if !drained && now > Instant::from_secs(20) {
                        drained = true;
                        input = HubInput::Control(Control::Drain);
                    } else if let Some(end) = world.ends.first_entry().filter(|end| end.key().0 <= now) {
                        input = end.remove();
                    }
                }
                action => world.perform(now, action, &mut random),
            }
        }
        // Extensions of tasks that have ended, and a refresh, may still be in flight.
        assert!(usize::from(hub.calls_in_flight()) <= world.ends.len(), "seed {seed}: a lane leaks");
    }
}

#[test]
fn a_worker_whose_queue_is_forbidden_costs_the_others_few_tokens() {
    let (policy, shared) = exact();
    let mut hub = hub_of(2, policy, HubPolicy { authenticated: true, ..shared });
    let mut now = 0;
    let (mut refreshes, mut good) = (0, 0);
    let mut action = tick(&mut hub, now);
    let mut flying = VecDeque::new();
    while now < 60_000 {
        action = match action {
            HubAction::Refresh { call } => {
                refreshes += 1;
                hub.step(at(now), HubInput::Refreshed { call, reply: Ok(Answer::Token { valid_for: None }) })
            }
            HubAction::Worker { worker, action: Action::Poll { call, .. } } => {
                flying.push_back((worker, call));
                tick(&mut hub, now)
            }
            HubAction::Wait { until, .. } => match flying.pop_front() {
                Some((0, call)) => reply(&mut hub, now, 0, call, Err(CallError::new(Fault::Unauthorized))),
                Some((worker, call)) => {
                    good += 1;
                    reply(&mut hub, now, worker, call, Ok(Answer::Done))
                }
                None => {
                    now = until.unwrap().as_millis();
                    tick(&mut hub, now)
                }
            },
            other => panic!("{other:?}"),
        };
    }
    assert!(refreshes <= 8, "{refreshes} tokens in a minute");
    assert!(good > 500, "the other worker polled {good} times");
}

#[test]
fn the_probe_of_a_worker_that_is_aborted_still_opens_the_link_for_the_others() {
    let (policy, shared) = exact();
    let mut hub = hub_of(2, policy, shared);
    let flying = polls(&mut hub, 0);
    let task = TaskMeta::new(TaskKey::from_u128(1), None);
    let (worker, call) = flying[0];
    let leased = hub.step(at(1), HubInput::Worker { worker, input: Input::Leased { call, task } });
    let HubAction::Worker { action: Action::Run { entry, .. }, .. } = leased else { panic!() };
    let _ = reply(&mut hub, 1, worker, call, Ok(Answer::Done));
    let _ = reply(&mut hub, 2, flying[1].0, flying[1].1, Err(CallError::new(Fault::NotSent)));
    let finished = Input::Finished { entry, outcome: Outcome::Final };
    let _ = hub.step(at(3), HubInput::Worker { worker, input: finished });
    let HubAction::Worker { action: Action::Update { call: probe, .. }, .. } = tick(&mut hub, 252) else {
        panic!()
    };
    let abort = HubInput::Worker { worker, input: Input::Control(Control::Abort) };
    let action = hub.step(at(253), abort);
    assert!(matches!(action, HubAction::Worker { action: Action::Discard { .. }, .. }));
    assert_eq!(polls(&mut hub, 254), [], "all wait for the probe");
    let (next, _) = poll(reply(&mut hub, 255, worker, probe, Ok(Answer::Done)));
    assert_ne!(next, worker);
}

#[test]
fn a_late_task_of_a_stopped_worker_is_answered_for_itself() {
    let (policy, shared) = exact();
    let mut hub = hub_of(2, policy, shared);
    let (worker, call) = polls(&mut hub, 0)[0];
    let abort = HubInput::Worker { worker, input: Input::Control(Control::Abort) };
    let _ = hub.step(at(1), abort);
    let task = TaskMeta::new(TaskKey::from_u128(1), None);
    let answer = hub.step(at(2), HubInput::Worker { worker, input: Input::Leased { call, task } });
    assert_eq!(answer, HubAction::Worker { worker, action: Action::Ignore { key: task.key } });
}

/// A hub whose first token has come, and the polls that its workers then sent.
fn authenticated(workers: usize) -> (BoxedHub, Vec<(u16, CallId)>) {
    let (policy, shared) = exact();
    let mut hub = hub_of(workers, policy, HubPolicy { authenticated: true, ..shared });
    let HubAction::Refresh { call } = tick(&mut hub, 0) else { panic!() };
    let mut flying = vec![poll(token(&mut hub, 1, call))];
    flying.extend(polls(&mut hub, 1));
    (hub, flying)
}

fn token(hub: &mut BoxedHub, millis: u64, call: CallId) -> HubAction {
    hub.step(at(millis), HubInput::Refreshed { call, reply: Ok(Answer::Token { valid_for: None }) })
}

fn lease(hub: &mut BoxedHub, millis: u64, (worker, call): (u16, CallId), key: u128) -> Action {
    let task = TaskMeta::new(TaskKey::from_u128(key), None);
    match hub.step(at(millis), HubInput::Worker { worker, input: Input::Leased { call, task } }) {
        HubAction::Worker { worker: to, action } if to == worker => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_401_to_a_give_back_renews_the_token_of_all() {
    let (mut hub, flying) = authenticated(2);
    assert!(matches!(lease(&mut hub, 2, flying[0], 1), Action::Run { .. }));
    let Action::GiveBack { call, .. } = lease(&mut hub, 2, flying[0], 2) else { panic!() };
    // The give-back shares the lane of the poll that is still being answered: the link learns nothing, the token does.
    let unauthorized = reply(&mut hub, 3, flying[0].0, call, Err(CallError::new(Fault::Unauthorized)));
    assert!(matches!(unauthorized, HubAction::Wait { until: Some(_), why: Why::Auth }), "{unauthorized:?}");
    assert_eq!(hub.token_generation(), None);
    let HubAction::Refresh { call } = tick(&mut hub, 2_003) else { panic!() };
    let _ = token(&mut hub, 2_004, call);
    assert_eq!(hub.token_generation(), Some(2));
}

#[test]
fn what_one_worker_owes_goes_before_what_another_wants() {
    let (mut hub, flying) = authenticated(2);
    let Action::Run { entry, .. } = lease(&mut hub, 2, flying[1], 1) else { panic!() };
    let _ = reply(&mut hub, 2, 1, flying[1].1, Ok(Answer::Done));
    let unauthorized = reply(&mut hub, 3, 0, flying[0].1, Err(CallError::new(Fault::Unauthorized)));
    let HubAction::Refresh { call } = unauthorized else { panic!("{unauthorized:?}") };
    let finished = Input::Finished { entry, outcome: Outcome::Final };
    let nothing = hub.step(at(4), HubInput::Worker { worker: 1, input: finished });
    assert!(matches!(nothing, HubAction::Wait { .. }), "{nothing:?}");
    // With the token both may call: the first worker wants a poll, the second owes a result.
    let first = token(&mut hub, 5, call);
    assert!(matches!(first, HubAction::Worker { worker: 1, action: Action::Update { .. } }), "{first:?}");
    assert_eq!(poll(tick(&mut hub, 5)).0, 0);
}

#[test]
fn the_limit_of_a_drain_counts_from_the_latest_time_that_any_worker_has_seen() {
    let (policy, shared) = exact();
    let drain_timeout = Some(Duration::from_secs(25));
    let mut hub = hub_of(2, Policy { concurrency: 1, drain_timeout, ..policy }, shared);
    let flying = polls(&mut hub, 1);
    let Action::Run { entry, .. } = lease(&mut hub, 2, flying[0], 1) else { panic!() };
    let _ = reply(&mut hub, 3, flying[0].0, flying[0].1, Ok(Answer::Done));
    // Its entry is taken, so the first worker sleeps while the second is told of a later time.
    let _ = reply(&mut hub, 1_000, flying[1].0, flying[1].1, Ok(Answer::Done));
    let _ = hub.step(at(400), HubInput::Control(Control::Drain));
    let recall =
        HubAction::Worker { worker: flying[0].0, action: Action::Recall { entry, why: RecallReason::Drain } };
    let recalled = |millis| {
        let mut hub = hub.clone();
        loop {
            match tick(&mut hub, millis) {
                HubAction::Wait { .. } | HubAction::Stopped => return false,
                action if action == recall => return true,
                _ => {}
            }
        }
    };
    assert!(!recalled(25_999), "25 s after the earlier time are no 25 s");
    assert!(recalled(26_000));
}
