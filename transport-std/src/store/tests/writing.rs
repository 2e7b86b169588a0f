//! Results become durable together, within bounds, and on a disk that is full for a while.

use super::*;

#[test]
fn a_part_takes_nothing_beyond_its_bound_and_looks_again_for_room() {
    let directory = Directory::new();
    let (store, _) = directory.bounded(Bounds { bytes: 10, files: 2 });
    let used = |store: &Store| store.look(|_, used| (used.files, used.bytes));
    assert_eq!(used(&store), [(0, 0); 3]);
    // One is taken, however large.
    store.keep("a", &[b'x'; 11], false).unwrap();
    let error = store.keep("b", b"x", false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    let bound = "what is waiting has reached its bound of 10 bytes or 2 results";
    assert!(error.to_string().contains(bound), "{error}");
    assert_eq!(store.result("b", b"x").unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    store.keep("b", b"x", true).unwrap();
    assert_eq!(used(&store), [(2, 12), (0, 0), (0, 0)]);
    let first = store.bury("c", b"12345", "no").unwrap();
    store.bury("d", b"12345", "no").unwrap();
    assert!(first.starts_with(directory.0.join("dead")));
    assert_eq!(store.bury("e", b"x", "no").unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    let item = store.items().unwrap().remove(1);
    assert!(!store.retire(&item, b"x", "no").unwrap());
    fs::remove_file(first).unwrap();
    assert!(store.retire(&item, b"x", "no").unwrap());
    drop(store);
    let (store, _) = directory.open();
    assert_eq!(store.look(|_, used| used.files)[1], 2);
}

#[test]
fn a_result_in_hand_is_handed_over_without_being_written_again() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.lease(&note("a")).unwrap();
    store.result("a", &result("a")).unwrap();
    assert!(waiting(&store).is_empty(), "the runner still reports it");
    assert_eq!(store.look(|_, used| used.files)[0], 0);
    let (number, syncs) = (store.journal.state().number, store.syncs());
    store.keep("a", &result("a"), false).unwrap();
    assert_eq!((store.journal.state().number, store.syncs()), (number, syncs));
    assert_eq!(waiting(&store), ["a"]);
    let item = store.items().unwrap().remove(0);
    store.remove(&item, &result("a")).unwrap();
    assert!(waiting(&store).is_empty());
    kill(store);
    assert_eq!(directory.open().1.results, 0);
}

#[test]
fn one_sync_makes_the_results_of_many_threads_durable() {
    const THREADS: usize = 16;
    let directory = Directory::new();
    let (store, _) = directory.open();
    let tasks: Vec<String> = (0..THREADS).map(|nth| format!("task-{nth}")).collect();
    for task in &tasks {
        store.lease(&note(task)).unwrap();
    }
    let before = store.syncs();
    std::thread::scope(|scope| {
        let disk = store.journal.disk.lock().unwrap();
        for task in &tasks {
            let store = &store;
            scope.spawn(move || store.result(task, &result(task)).unwrap());
        }
        // No sync comes to its end before all have written.
        while store.journal.state().waiters < THREADS {
            std::thread::yield_now();
        }
        drop(disk);
    });
    // One for those who came first, one for all who came meanwhile.
    let syncs = store.syncs() - before;
    assert!(syncs <= 2, "{syncs} syncs for {THREADS} results");
    kill(store);
    assert_eq!(directory.open().1.results, 16);
}

#[test]
fn a_result_alone_waits_for_nobody() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let before = store.syncs();
    for task in ["a", "b", "c"] {
        store.lease(&note(task)).unwrap();
        store.result(task, &result(task)).unwrap();
    }
    assert_eq!(store.syncs() - before, 3);
}

#[test]
fn a_full_disk_takes_no_result_but_the_end_of_one_and_goes_on_once_there_is_room() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.result("a", &result("a")).unwrap();
    store.lease(&note("b")).unwrap();
    let room = std::sync::Arc::clone(&store.journal.state().active.as_ref().unwrap().room);
    room.store(0, Ordering::Relaxed);
    let large = vec![b'x'; 1 << 20];
    let error = store.result("b", &large).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(is_full(&error));
    // Small records have room of their own.
    store.yielding("b").unwrap();
    store.ended("a");
    room.store(u64::MAX, Ordering::Relaxed);
    store.result("c", &large).unwrap();
    kill(store);
    let (store, recovered) = directory.open();
    assert_eq!((recovered.results, recovered.unsure[0].task_id.as_str()), (1, "b"));
    drop(store);
}

#[test]
fn a_result_that_the_disk_did_not_make_durable_is_said_and_the_next_one_goes_elsewhere() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.result("a", &result("a")).unwrap();
    store.journal.fails.store(true, Ordering::Relaxed);
    let error = store.result("b", &result("b")).unwrap_err();
    assert!(error.to_string().contains("the disk is broken"), "{error}");
    assert_eq!(store.journal.state().index.results.files, 1);
    store.journal.fails.store(false, Ordering::Relaxed);
    store.result("c", &result("c")).unwrap();
    for task in ["a", "c"] {
        store.keep(task, &result(task), false).unwrap();
    }
    assert_eq!(waiting(&store), ["a", "c"]);
}

#[test]
fn what_is_too_large_is_refused_and_the_largest_is_taken() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let mut body = vec![b' '; BODY_MAX];
    body[..result("a").len()].copy_from_slice(&result("a"));
    store.keep("a", &body, false).unwrap();
    body.push(b' ');
    assert_eq!(store.keep("b", &body, false).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    kill(store);
    let (store, _) = directory.open();
    assert_eq!(waiting(&store), ["a"]);
}

#[test]
fn segments_are_removed_and_what_counts_moves_on() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let body = vec![b'x'; 256 << 10];
    store.lease(&note("in hand")).unwrap();
    store.process("in hand", 7, 70).unwrap();
    store.keep("kept", &result("kept"), false).unwrap();
    let item = store.items().unwrap().remove(0);
    store.refused(&item, &result("kept"), 5_000).unwrap();
    for nth in 0..400 {
        let task = nth.to_string();
        store.result(&task, &body).unwrap();
        store.ended(&task);
    }
    // 100 MiB were written; two segments are there at the most.
    assert!(directory.bytes() <= 3 * segment::LENGTH, "{} bytes", directory.bytes());
    assert!(store.journal.state().segment > 4);
    assert_eq!(waiting(&store), ["kept"]);
    kill(store);
    let (store, recovered) = directory.open();
    assert_eq!(waiting(&store), ["kept"]);
    let item = store.items().unwrap().remove(0);
    assert!(matches!(store.read(&item).unwrap(), Stored::Result { refused_ms: 5_000, .. }));
    assert_eq!(recovered.give_back.len(), 1);
    assert_eq!(recovered.processes, [Process { task_id: "in hand".to_owned(), group: 7, started: 70 }]);
    assert!(directory.bytes() < 1 << 20, "a start carries over what little there is");
}

#[test]
fn what_waits_in_many_segments_is_all_sent_in_its_order() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let mut body = vec![b' '; 1 << 20];
    let tasks: Vec<String> = (0..70).map(|nth| format!("task-{nth:03}")).collect();
    for task in &tasks {
        body[..result(task).len()].copy_from_slice(&result(task));
        store.keep(task, &body, false).unwrap();
    }
    assert_eq!(waiting(&store), tasks);
    // Half of them go, so that segments are carried over.
    for (task, item) in tasks.iter().zip(store.items().unwrap()).step_by(2) {
        store.remove(&item, &result(task)).unwrap();
    }
    for nth in 0..40 {
        store.result(&nth.to_string(), &body).unwrap();
        store.ended(&nth.to_string());
    }
    let rest: Vec<String> = tasks.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(waiting(&store), rest);
    kill(store);
    let (store, _) = directory.open();
    assert_eq!(waiting(&store).len(), rest.len());
}

#[test]
fn what_does_not_count_any_more_makes_room_on_a_full_disk() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    let body = vec![b'x'; 128 << 10];
    let fill =
        |tasks: std::ops::Range<u64>| tasks.for_each(|nth| store.result(&nth.to_string(), &body).unwrap());
    // An old segment is gone as soon as all of it has ended, without a new one.
    fill(0..150);
    assert_eq!(segment::numbers(&directory.0).unwrap().len(), 2);
    (0..149).for_each(|nth| store.ended(&nth.to_string()));
    assert_eq!(segment::numbers(&directory.0).unwrap().len(), 1);
    store.ended("149");
    // And what is written to begins anew where nothing in it counts and there is no room for more.
    let room = std::sync::Arc::clone(&store.journal.state().active.as_ref().unwrap().room);
    room.store(4 << 20, Ordering::Relaxed);
    for nth in 0..100 {
        store.result(&format!("task {nth}"), &body).unwrap();
        store.ended(&format!("task {nth}"));
    }
    assert!(directory.bytes() <= 5 << 20, "{} bytes", directory.bytes());
    store.keep("last", &result("last"), false).unwrap();
    kill(store);
    assert_eq!(waiting(&directory.open().0), ["last"]);
}
