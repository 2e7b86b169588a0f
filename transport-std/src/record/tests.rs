//! Segments, rotation, gaps.

use std::path::PathBuf;

use downbeat_core::machine::{Action, Answer, Entry, Hub, HubPolicy, Input, Machine, Member, Policy};

use super::*;

/// A directory of this test's own, gone with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("downbeat-record-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn read(&self, name: &str) -> Vec<String> {
        std::fs::read_to_string(self.0.join(name)).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hub() -> BoxedHub {
    let table = vec![Entry::FREE; 2].into_boxed_slice();
    let member = Member::new(Machine::with_storage(table, Policy::default(), 1).unwrap());
    Hub::new(vec![member].into_boxed_slice(), HubPolicy::default(), 1).unwrap()
}

fn facts() -> RecordHeader {
    RecordHeader { seed: 1, epoch_ms: 0, names: vec!["greet".to_owned()] }
}

/// Polls an empty queue, for so many steps.
fn idle(recorder: &mut Recorder, hub: &mut BoxedHub, steps: u64) {
    let mut input = HubInput::Tick;
    for number in 0..steps {
        let action = recorder.step(hub, Instant::from_millis(number * 10), input);
        input = match action {
            HubAction::Worker { worker, action: Action::Poll { call, .. } } => {
                HubInput::Worker { worker, input: Input::Replied { call, reply: Ok(Answer::Done) } }
            }
            HubAction::Worker { .. }
            | HubAction::Refresh { .. }
            | HubAction::Wait { .. }
            | HubAction::Stopped => HubInput::Tick,
        };
    }
}

#[test]
fn a_record_begins_with_the_hubs_state_and_has_a_line_for_each_step() {
    let place = Place::new("whole");
    let mut recorder = Recorder::start(Recording::new(place.0.join("r.jsonl")), facts()).unwrap();
    idle(&mut recorder, &mut hub(), 100);
    recorder.finish();
    let lines = place.read("r.jsonl");
    assert!(
        lines[0].starts_with("{\"downbeat_record\":2,") && lines[0].contains("\"hub\":{"),
        "{}",
        lines[0]
    );
    assert_eq!(lines.len(), 101);
}

#[test]
fn a_full_file_moves_aside_and_the_oldest_goes() {
    let place = Place::new("rotate");
    let file = place.0.join("r.jsonl");
    let recording = Recording { file: file.clone(), segment_bytes: 3_000, segments_kept: 2 };
    // Each run begins a file of its own, whatever the last one left.
    for _ in 0..4 {
        let mut recorder = Recorder::start(recording.clone(), facts()).unwrap();
        idle(&mut recorder, &mut hub(), 50);
        recorder.finish();
    }
    for name in ["r.jsonl", "r.jsonl.1", "r.jsonl.2"] {
        assert!(place.read(name)[0].starts_with("{\"downbeat_record\":2,"), "{name}");
    }
    assert!(!place.0.join("r.jsonl.3").exists());
}

#[test]
fn what_does_not_fit_is_counted_and_a_segment_begins_after_it() {
    let place = Place::new("gap");
    let (sender, receiver) = sync_channel(10);
    let wanted = Arc::new(AtomicBool::new(true));
    let mut hub = hub();
    let writer = thread::spawn(|| ());
    let mut recorder =
        Recorder { sender, wanted: Arc::clone(&wanted), dropped: 0, behind_gap: false, writer };
    // Nobody writes: a segment and nine steps fit.
    idle(&mut recorder, &mut hub, 30);
    assert_eq!(recorder.dropped, 21);
    let mut out = Segments::open(Recording::new(place.0.join("r.jsonl")), facts()).unwrap();
    receiver.try_iter().for_each(|message| out.write(message).unwrap());
    idle(&mut recorder, &mut hub, 5);
    recorder.finish();
    write(&receiver, out, &wanted);
    let lines = place.read("r.jsonl");
    assert_eq!(lines[10], "{\"t\":0,\"gap\":21}");
    assert!(lines[11].starts_with("{\"downbeat_record\":2,") && lines[11].contains("\"segment\":1"));
    assert_eq!(lines.len(), 1 + 9 + 1 + 1 + 5);
}
