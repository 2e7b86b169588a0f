//! The feature `record`: a machine or a hub that is written and read again goes on as if nothing had happened.
#![cfg(feature = "record")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use core::time::Duration;

use downbeat_core::machine::{
    Action, Answer, CallError, CallId, Control, Entry, EntryId, Fault, Hub, HubAction, HubInput, HubPolicy,
    Input, Instant, Loss, Machine, Member, Outcome, Policy, RecallReason, Rules, TaskKey, TaskMeta, Why,
    Worker,
};
use downbeat_core::record::Step;
use serde::{Serialize, de::DeserializeOwned};

type Boxed = Machine<Box<[Entry]>>;
type BoxedHub = Hub<Box<[Member<Box<[Entry]>>]>, Box<[Entry]>>;

fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn machine(seed: u64) -> Boxed {
    let policy = Policy { concurrency: 4, max_calls: 4, empty_jitter: 50, store: true, ..Policy::default() };
    Machine::with_storage(vec![Entry::FREE; 8].into(), policy, seed).unwrap()
}

/// Performs what a machine asks for, each call and each run in some way that `dice` decides.
fn perform(action: Action, dice: u64, inputs: &mut Vec<Input>) {
    let reply = |call, good| match dice % 4 {
        0 => Input::Replied { call, reply: Err(CallError::new(Fault::Unknown)) },
        1 => {
            let retry_after = Some(Duration::from_millis(dice % 5_000));
            Input::Replied { call, reply: Err(CallError { fault: Fault::Throttled, retry_after }) }
        }
        _ => Input::Replied { call, reply: Ok(good) },
    };
    match action {
        Action::Poll { call, .. } => {
            inputs.push(reply(call, Answer::Done));
            let key = TaskKey::from_u128(u128::from(dice) << 64 | 7);
            let response_timeout = (!dice.is_multiple_of(3)).then_some(Duration::from_secs(dice % 60));
            inputs.push(Input::Leased { call, task: TaskMeta::new(key, response_timeout) });
        }
        Action::Run { entry, .. } | Action::Recall { entry, .. } => {
            let callback_after = Duration::from_secs(dice % 100);
            let outcome =
                if dice.is_multiple_of(5) { Outcome::Yield { callback_after } } else { Outcome::Final };
            inputs.push(Input::Finished { entry, outcome });
        }
        Action::Refresh { call } => inputs.push(reply(call, Answer::Token { valid_for: None })),
        Action::GiveBack { call, .. }
        | Action::Extend { call, .. }
        | Action::Ask { call, .. }
        | Action::Update { call, .. }
        | Action::Spill { call, .. } => inputs.push(reply(call, Answer::Done)),
        Action::Lapsed { .. }
        | Action::Adopt { .. }
        | Action::Ignore { .. }
        | Action::Discard { .. }
        | Action::Wait { .. }
        | Action::Stopped => {}
    }
}

#[test]
fn a_machine_read_from_its_encoding_goes_on_the_same() {
    let (mut machine, mut now, mut inputs) = (machine(4711), Instant::ZERO, Vec::new());
    for n in 0..3_000_u64 {
        let dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        now = now.saturating_add(Duration::from_micros(dice % 70_000));
        let input = inputs.pop().unwrap_or(Input::Tick);
        let mut copy = again(&machine);
        assert_eq!(copy, machine, "step {n}");
        let action = machine.step(now, input);
        assert_eq!((copy.step(now, again(&input)), &copy), (action, &machine), "step {n}");
        assert_eq!(again(&action), action, "step {n}");
        perform(action, dice, &mut inputs);
    }
}

#[test]
fn a_hub_read_from_its_encoding_goes_on_the_same() {
    let members: Vec<_> = (0..3).map(|seed| Member::new(machine(seed))).collect();
    let policy = HubPolicy { authenticated: true, max_calls: 4, ..HubPolicy::default() };
    let mut hub: BoxedHub = Hub::new(members.into(), policy, 7).unwrap();
    let (mut now, mut inputs) = (Instant::ZERO, Vec::new());
    for n in 0..2_000_u64 {
        let dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        now = now.saturating_add(Duration::from_micros(dice % 70_000));
        let input = if n == 1_900 {
            HubInput::Control(Control::Drain)
        } else {
            inputs.pop().unwrap_or(HubInput::Tick)
        };
        let mut copy = again(&hub);
        assert_eq!(copy, hub, "step {n}");
        let action = hub.step(now, input);
        let step = again(&Step::from_hub(now, input, action));
        assert_eq!((step.hub_input(), step.hub_action()), (Some(input), Some(action)), "step {n}");
        assert_eq!((copy.step(now, input), &copy), (action, &hub), "step {n}");
        let mut of_worker = Vec::new();
        match action {
            HubAction::Worker { worker, action } => {
                perform(action, dice, &mut of_worker);
                inputs.extend(of_worker.into_iter().map(|input| HubInput::Worker { worker, input }));
            }
            HubAction::Refresh { call } => {
                let reply = Ok(Answer::Token { valid_for: Some(Duration::from_secs(3)) });
                inputs.push(HubInput::Refreshed { call, reply });
            }
            HubAction::Wait { .. } | HubAction::Stopped => {}
        }
    }
}

#[test]
fn lines_are_short_and_read_as_documented() {
    let mut worker = Worker::<2>::new(Policy::default(), 1).unwrap();
    let action = worker.step(Instant::ZERO, Input::Tick);
    let Action::Poll { call, .. } = action else { panic!() };
    let line = |t, input, action| {
        serde_json::to_string(&Step::from_machine(
            Instant::from_micros(t),
            2,
            Instant::from_micros(t),
            input,
            action,
        ))
        .unwrap()
    };
    assert_eq!(
        line(0, Input::Tick, action),
        r#"{"t":0,"w":2,"in":"tick","do":{"poll":{"call":1,"count":1,"wait":0}}}"#
    );
    let task = TaskMeta::new(TaskKey::from_u128(42), Some(Duration::from_secs(60)));
    let entry = EntryId::new(0, 1);
    assert_eq!(
        line(9, Input::Leased { call, task }, Action::Run { entry, key: task.key }),
        concat!(
            r#"{"t":9,"w":2,"in":{"leased":{"call":1,"task":{"key":"00000000-0000-0000-0000-00000000002a","#,
            r#""response_timeout":60000000}}},"do":{"run":{"entry":[0,1],"key":"00000000-0000-0000-0000-00000000002a"}}}"#
        )
    );
}

#[test]
fn an_action_is_called_what_a_record_calls_it() {
    let (call, entry) = (CallId::from_bits(1), EntryId::new(0, 1));
    let (key, until, wait) = (TaskKey::from_u128(42), None, Duration::ZERO);
    let actions = [
        Action::Run { entry, key },
        Action::GiveBack { call, key },
        Action::Ignore { key },
        Action::Recall { entry, why: RecallReason::Drain },
        Action::Refresh { call },
        Action::Extend { call, entry },
        Action::Update { call, entry, attempt: 0, take_next: false, instead: None },
        Action::Lapsed { entry },
        Action::Adopt { entry, key },
        Action::Ask { call, entry },
        Action::Poll { call, count: 1, wait },
        Action::Spill { call, entry, instead: None },
        Action::Discard { entry, why: Loss::Rejected },
        Action::Wait { until, why: Why::Empty },
        Action::Stopped,
    ];
    for action in actions {
        let written = serde_json::to_string(&action).unwrap();
        assert_eq!(written.split('"').nth(1), Some(action.name()), "{written}");
    }
}

#[test]
fn the_words_of_older_records_are_read() {
    let key = TaskKey::from_u128(42);
    let line = r#"{"refuse":{"call":1,"key":"00000000-0000-0000-0000-00000000002a"}}"#;
    let read: Action = serde_json::from_str(line).unwrap();
    assert_eq!(read, Action::GiveBack { call: CallId::from_bits(1), key });
    assert_eq!(serde_json::from_str::<Rules>(r#""seed""#).unwrap(), Rules::RubySdk);
}

#[test]
fn the_state_of_a_machine_takes_little_room() {
    let length = serde_json::to_string(&machine(1)).unwrap().len();
    assert!(length < 1_500 + 8 * 250, "{length} bytes for eight slots");
}
