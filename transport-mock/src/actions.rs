//! What a machine is expected to ask for: each function takes the action apart, or fails the test and says why.
//!
//! ```
//! use downbeat_core::machine::{Input, Instant, Policy, Worker};
//! use downbeat_mock::actions;
//!
//! let mut worker = Worker::<4>::new(Policy::default(), 1).unwrap();
//! let (call, count, wait) = actions::poll(worker.step(Instant::ZERO, Input::Tick));
//! assert_eq!((count, wait.is_zero()), (1, true));
//! # let _ = call;
//! ```

use std::time::Duration;

use downbeat_core::machine::{Action, CallId, EntryId, Instant, Instead, Loss, RecallReason, TaskKey, Why};

macro_rules! expected {
    ($(
        #[doc = $doc:literal]
        $name:ident: $pattern:pat => $value:expr, $type:ty;
    )*) => {
        $(
            #[doc = $doc]
            ///
            /// # Panics
            /// When it is another action.
            #[track_caller]
            pub fn $name(action: Action) -> $type {
                let $pattern = action else {
                    panic!(concat!("expected `", stringify!($name), "`, got {:?}"), action)
                };
                $value
            }
        )*
    };
}

expected! {
    /// Expects `Poll`: the call, how many tasks, and how long the server may hold it.
    poll: Action::Poll { call, count, wait } => (call, count, wait), (CallId, u16, Duration);
    /// Expects `Run`: where the task is held, and which it is.
    run: Action::Run { entry, key } => (entry, key), (EntryId, TaskKey);
    /// Expects `GiveBack`: the call, and the task to give back.
    give_back: Action::GiveBack { call, key } => (call, key), (CallId, TaskKey);
    /// Expects `Ignore`: the task to forget.
    ignore: Action::Ignore { key } => key, TaskKey;
    /// Expects `Recall`: whose code is to be stopped, and why.
    recall: Action::Recall { entry, why } => (entry, why), (EntryId, RecallReason);
    /// Expects `Lapsed`: whose lease is over.
    lapsed: Action::Lapsed { entry } => entry, EntryId;
    /// Expects `Adopt`: which run goes on, and for which task.
    adopt: Action::Adopt { entry, key } => (entry, key), (EntryId, TaskKey);
    /// Expects `Ask`: the call, and whose task is asked about.
    ask: Action::Ask { call, entry } => (call, entry), (CallId, EntryId);
    /// Expects `Refresh`: the call.
    refresh: Action::Refresh { call } => call, CallId;
    /// Expects `Extend`: the call, and whose lease.
    extend: Action::Extend { call, entry } => (call, entry), (CallId, EntryId);
    /// Expects `Update` of an outcome itself: the call, whose, the failures before, and whether it takes the next task.
    update: Action::Update { call, entry, attempt, take_next, instead: None } => (call, entry, attempt, take_next),
        (CallId, EntryId, u16, bool);
    /// Expects `Update` with a report in the outcome's place: the call, whose, and why.
    instead: Action::Update { call, entry, instead: Some(why), .. } => (call, entry, why), (CallId, EntryId, Instead);
    /// Expects `Spill`: the call, and whose result.
    spill: Action::Spill { call, entry, .. } => (call, entry), (CallId, EntryId);
    /// Expects `Discard`: whose outcome, and why.
    discard: Action::Discard { entry, why } => (entry, why), (EntryId, Loss);
    /// Expects `Wait`: until when, and for what.
    wait: Action::Wait { until, why } => (until, why), (Option<Instant>, Why);
    /// Expects `Stopped`.
    stopped: Action::Stopped => (), ();
}
