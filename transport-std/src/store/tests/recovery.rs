//! What is left after a crash at any place, and after damage.

use super::*;

#[test]
fn whatever_byte_a_crash_cuts_the_journal_at_the_results_before_it_are_there() {
    let directory = Directory::in_memory();
    let (store, _) = directory.open();
    let mut ends = Vec::new();
    for task in ["a", "b", "c"] {
        store.lease(&note(task)).unwrap();
        store.result(task, &result(task)).unwrap();
        ends.push(store.journal.state().active.as_ref().unwrap().end);
    }
    kill(store);
    let whole = directory.segment();
    let length = *ends.last().unwrap();
    for cut in 0..=length {
        for zeros in [false, true] {
            let place = Directory::in_memory();
            copy(&directory.0, &place.0);
            let segment = place.0.join(whole.file_name().unwrap());
            let file = File::options().write(true).open(&segment).unwrap();
            file.set_len(cut).unwrap();
            if zeros {
                // As it is in a segment that was preallocated.
                file.set_len(length + 4096).unwrap();
            }
            let (store, recovered) = place.open();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(waiting(&store), ["a", "b", "c"][..whole], "cut at {cut}");
            assert_eq!(recovered.warnings, [""; 0], "cut at {cut}");
            // And it goes on from there.
            store.keep("d", &result("d"), false).unwrap();
            kill(store);
            assert_eq!(waiting(&place.open().0).len(), whole + 1, "cut at {cut}");
        }
    }
}

#[test]
fn a_broken_record_is_set_aside_and_the_rest_is_read() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    for task in ["a", "b", "c"] {
        store.keep(task, &result(task), false).unwrap();
    }
    kill(store);
    let path = directory.segment();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(13).position(|part| part == br#"{"taskId":"b""#).unwrap();
    bytes[at + 3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (store, recovered) = directory.open();
    assert_eq!(waiting(&store), ["a", "c"]);
    let [warning] = recovered.warnings.as_slice() else { panic!("{:?}", recovered.warnings) };
    assert!(warning.contains("are damaged; they are set aside"), "{warning}");
    let names = directory.names("damaged");
    let aside = fs::read(directory.0.join("damaged").join(&names[0])).unwrap();
    assert!(String::from_utf8_lossy(&aside).contains("COMPLETED"), "nothing is deleted");
    drop(store);
    // It is said once: what is damaged is not there any more.
    assert_eq!(directory.open().1.warnings, [""; 0]);
}

#[test]
fn the_last_record_is_set_aside_where_it_is_broken_and_not_cut_off() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.keep("a", &result("a"), false).unwrap();
    kill(store);
    let path = directory.segment();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|part| part == b"COMPLETED").unwrap();
    bytes[at] = b'X';
    fs::write(&path, &bytes).unwrap();
    let (store, recovered) = directory.open();
    assert!(waiting(&store).is_empty());
    assert_eq!(recovered.warnings.len(), 1);
    assert_eq!(directory.names("damaged").len(), 1);
}

#[test]
fn a_segment_without_its_beginning_is_read_all_the_same() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.keep("a", &result("a"), false).unwrap();
    kill(store);
    let path = directory.segment();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..20].fill(b'?');
    fs::write(&path, &bytes).unwrap();
    let (store, recovered) = directory.open();
    assert_eq!(waiting(&store), ["a"]);
    assert_eq!(recovered.warnings.len(), 1);
}

#[test]
fn a_record_that_changes_while_it_waits_is_set_aside_and_nobody_waits_for_it() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    for task in ["a", "b"] {
        store.keep(task, &result(task), false).unwrap();
    }
    let path = directory.segment();
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|part| part == b"COMPLETED").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"X", u64::try_from(at).unwrap()).unwrap();
    let items = store.items().unwrap();
    assert!(matches!(store.read(&items[0]).unwrap(), Stored::Damaged { aside: true }));
    assert_eq!(directory.names("damaged").len(), 1);
    assert_eq!(waiting(&store), ["b"]);
}

#[test]
fn tasks_in_hand_are_to_be_given_back_but_for_those_that_may_have_been() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let now = unix_millis();
    let later = now + 3_600_000;
    store.lease(&note("free")).unwrap();
    store.lease(&LeaseNote { give_back_until_ms: Some(later), ..note("in time") }).unwrap();
    store.lease(&LeaseNote { give_back_until_ms: Some(now - 1), ..note("too late") }).unwrap();
    store.lease(&note("yielded")).unwrap();
    store.yielding("yielded").unwrap();
    store.lease(&note("done")).unwrap();
    store.process("done", 1, 10).unwrap();
    store.result("done", &result("done")).unwrap();
    store.lease(&note("gone")).unwrap();
    store.ended("gone");
    store.process("free", 2, 20).unwrap();
    store.process("yielded", 3, 30).unwrap();
    // Nobody has it in hand.
    store.process("unknown", 4, 40).unwrap();
    kill(store);
    // It stays so until the runner has seen to it, however often it is killed meanwhile.
    for _ in 0..3 {
        let (store, recovered) = directory.open();
        let ids: Vec<&str> = recovered.give_back.iter().map(|left| left.task_id.as_str()).collect();
        assert_eq!(ids, ["free", "in time", "too late"]);
        let within = |at: usize| recovered.give_back[at].give_back_within(now);
        assert_eq!((within(0), within(2)), (None, Some(Duration::ZERO)));
        assert_eq!(within(1), Some(Duration::from_secs(3_600)));
        assert_eq!(recovered.give_back[0].polled_output, r#"{"phase":1}"#);
        let unsure: Vec<_> = recovered.unsure.iter().map(|left| (&*left.task_id, left.poll_count)).collect();
        assert_eq!(unsure, [("yielded", 3)]);
        let groups: Vec<i32> = recovered.processes.iter().map(|process| process.group).collect();
        assert_eq!(groups, [2, 3]);
        assert_eq!(waiting(&store), ["done"]);
        kill(store);
    }
    let (store, recovered) = directory.open();
    recovered.give_back.iter().for_each(|left| store.ended(&left.task_id));
    recovered.unsure.iter().for_each(|left| store.ended(&left.task_id));
    kill(store);
    let (_, recovered) = directory.open();
    assert!(recovered.give_back.is_empty() && recovered.unsure.is_empty());
    assert!(recovered.processes.is_empty());
}

#[test]
fn a_task_that_was_delivered_again_after_a_yield_is_given_back() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.lease(&note("a")).unwrap();
    store.yielding("a").unwrap();
    store.lease(&note("a")).unwrap();
    kill(store);
    let (_, recovered) = directory.open();
    assert_eq!((recovered.give_back.len(), recovered.unsure.len()), (1, 0));
}

#[test]
fn the_end_of_a_delivery_leaves_the_note_of_a_later_one() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let first = store.lease(&note("a")).unwrap();
    store.yielding("a").unwrap();
    let second = store.lease(&note("a")).unwrap();
    // The answer to the yield is read after the task came again.
    store.delivery_ended("a", first);
    kill(store);
    let (store, recovered) = directory.open();
    assert_eq!((recovered.give_back.len(), recovered.unsure.len()), (1, 0));
    assert!(first < second);
    store.delivery_ended("a", store.deliveries());
    kill(store);
    assert!(directory.open().1.give_back.is_empty());
}

#[test]
fn without_a_journal_only_what_is_kept_is_written() {
    let directory = Directory::new();
    let (store, _) = Store::open(&directory.0, SERVER, Bounds::default(), Journal::Off).unwrap();
    assert_eq!(store.mode(), Journal::Off);
    store.lease(&note("a")).unwrap();
    store.yielding("a").unwrap();
    store.keep("b", &result("b"), false).unwrap();
    kill(store);
    let (_, recovered) = directory.open();
    assert_eq!((recovered.results, recovered.give_back.len(), recovered.unsure.len()), (1, 0, 0));
}

#[test]
fn a_command_is_not_looked_for_after_the_machine_was_started_anew() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.lease(&note("a")).unwrap();
    store.process("a", 7, 70).unwrap();
    kill(store);
    let path = directory.segment();
    let mut bytes = fs::read(&path).unwrap();
    let number = segment::number(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let start = usize::try_from(segment::PREAMBLE).unwrap();
    let record = record::decode(number, &bytes[start..]).unwrap();
    // As an earlier start of the machine would have written it.
    let other = vec![b'x'; record.task.len()];
    let mut header = Vec::new();
    record::encode(&mut header, number, record.kind, record.number, &other, &[record.body]).unwrap();
    bytes[start..start + header.len()].copy_from_slice(&header);
    fs::write(&path, bytes).unwrap();
    for _ in 0..2 {
        let (store, recovered) = directory.open();
        assert_eq!((recovered.give_back.len(), recovered.processes.len()), (1, 0));
        kill(store);
    }
}

#[test]
fn what_has_ended_stays_so_where_its_segment_cannot_be_removed() {
    // Neither removed (1), nor emptied (2).
    for holds_on in [1_u8, 2] {
        let directory = Directory::new();
        let (store, _) = directory.open();
        let first = store.journal.state().segment;
        *store.journal.holds_on.lock().unwrap() = (first, holds_on);
        store.lease(&note("ended")).unwrap();
        let body = vec![b'x'; 256 << 10];
        let fill = |name: &str| {
            for nth in 0..70 {
                store.result(&format!("{name} {nth}"), &body).unwrap();
                store.ended(&format!("{name} {nth}"));
            }
        };
        fill("before");
        // Its end is in a later segment than its lease, and that has nothing else that counts.
        store.ended("ended");
        fill("after");
        fill("and more");
        kill(store);
        let (store, recovered) = directory.open();
        assert!(recovered.give_back.is_empty(), "{holds_on}: {:?}", recovered.give_back);
        assert_eq!((recovered.results, recovered.warnings.len()), (0, 0));
        // And it is rid of them as soon as it may be.
        assert!(directory.bytes() < 1 << 20, "{holds_on}: {} bytes", directory.bytes());
        drop(store);
    }
}

#[test]
fn what_was_carried_over_and_not_made_durable_ends_with_its_later_copy() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.lease(&note("ended")).unwrap();
    let body = vec![b'x'; 256 << 10];
    let fill = |name: &str| {
        for nth in 0..70 {
            store.keep(&format!("{name} {nth}"), &body, false).unwrap();
            store.ended(&format!("{name} {nth}"));
        }
    };
    (0..62).for_each(|nth| store.keep(&format!("first {nth}"), &body, false).unwrap());
    (0..62).for_each(|nth| store.ended(&format!("first {nth}")));
    // The lease is carried over into the second segment, and nobody knows whether it is on the disk.
    store.journal.fails.store(true, Ordering::Relaxed);
    store.journal.roll(&mut store.journal.state()).unwrap();
    store.journal.fails.store(false, Ordering::Relaxed);
    store.ended("ended");
    fill("second");
    fill("third");
    kill(store);
    let (_, recovered) = directory.open();
    assert!(recovered.give_back.is_empty(), "{:?}", recovered.give_back);
}
