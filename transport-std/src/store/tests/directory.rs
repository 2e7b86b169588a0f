//! What a store may be, and what it may hold.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn refused(path: &Path) -> String {
    Store::open(path, SERVER, Bounds::default(), Journal::Finish).map(drop).unwrap_err().to_string()
}

fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_store_is_a_directory_and_nothing_else() {
    let place = Directory::new();
    let link = place.0.join("link");
    symlink("/dev/zero", &link).unwrap();
    assert!(refused(&link).contains("it is a device, and the store is a directory"), "{}", refused(&link));
    let fifo = place.0.join("fifo");
    pipe(&fifo);
    assert!(refused(&fifo).contains("it is a pipe"), "{}", refused(&fifo));
    let socket = place.0.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(refused(&socket).contains("it is a socket"), "{}", refused(&socket));
    let file = place.0.join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("it is a file"), "{}", refused(&file));
}

#[test]
fn only_regular_files_are_read_and_what_else_is_there_is_set_aside() {
    let directory = Directory::new();
    symlink("/dev/zero", directory.0.join("a.json")).unwrap();
    pipe(&directory.0.join("b.json"));
    symlink("/etc/passwd", directory.0.join("journal-0000000001")).unwrap();
    pipe(&directory.0.join("journal-0000000002"));
    File::create(directory.0.join("journal-0000000003")).unwrap().set_len(100 << 20).unwrap();
    fs::create_dir(directory.0.join("c.json")).unwrap();
    let (store, recovered) = directory.open();
    assert_eq!(recovered.warnings.len(), 6, "{:?}", recovered.warnings);
    assert!(waiting(&store).is_empty());
    assert_eq!(directory.names("damaged").len(), 6);
    // Also what comes later.
    symlink("/dev/zero", directory.0.join("d.json")).unwrap();
    pipe(&directory.0.join("e.json"));
    File::create(directory.0.join("f.json")).unwrap().set_len(100 << 20).unwrap();
    assert_eq!(waiting(&store), ["no result"; 3]);
    assert!(store.items().unwrap().is_empty());
    assert_eq!(directory.names("damaged").len(), 9);
}

#[test]
fn a_file_that_is_too_large_for_a_result_takes_no_room_of_those_that_wait() {
    let directory = Directory::new();
    // A foreign file, or a damaged one; without a byte on the disk.
    let large = |name: &str| File::create(directory.0.join(name)).unwrap().set_len(2 << 30).unwrap();
    large("a.json");
    let (store, recovered) = directory.open();
    let [warning] = recovered.warnings.as_slice() else { panic!("{:?}", recovered.warnings) };
    assert!(warning.contains("a.json is too large for a result; it is not read, and set aside"), "{warning}");
    assert_eq!((recovered.results, directory.names("damaged")), (0, vec!["a.json".to_owned()]));
    assert_eq!(store.look(|_, used| used.bytes), [0, 0, 2 << 30]);
    store.result("a", &result("a")).unwrap();
    // Also what comes later, though there is no more room for what is damaged.
    large("b.json");
    let item = Item::File("b.json".to_owned());
    assert!(matches!(store.read(&item).unwrap(), Stored::Damaged { aside: true }));
    assert_eq!(directory.names("damaged"), ["a.json", "b.json"]);
    assert_eq!(
        fs::metadata(directory.0.join("damaged/b.json")).unwrap().len(),
        2 << 30,
        "nothing is deleted"
    );
    store.result("b", &result("b")).unwrap();
}

#[test]
fn a_lock_that_is_no_file_is_refused() {
    let directory = Directory::new();
    pipe(&directory.0.join("lock"));
    assert!(refused(&directory.0).contains("it is a pipe, and no regular file"), "{}", refused(&directory.0));
}

#[test]
fn files_and_directories_are_for_their_owner_alone() {
    let place = Directory::new();
    let directory = Directory(place.0.join("new"));
    let (store, recovered) = directory.open();
    store.keep("a", &result("a"), false).unwrap();
    let letter = store.bury("b", &result("b"), "no").unwrap();
    assert!(recovered.warnings.is_empty());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for path in [directory.0.clone(), directory.0.join("dead"), directory.0.join("damaged")] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
    for path in [directory.segment(), directory.0.join("lock"), letter.with_extension("why"), letter] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_warned_of() {
    for (mode, who) in [(0o777, "everybody"), (0o770, "its group"), (0o1777, "its group"), (0o755, "")] {
        let directory = Directory::new();
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(mode)).unwrap();
        let (_, recovered) = directory.open();
        assert_eq!(recovered.warnings.len(), usize::from(!who.is_empty()), "{mode:o}");
        assert!(recovered.warnings.iter().all(|warning| warning.contains(who)), "{:?}", recovered.warnings);
    }
}

#[test]
fn a_store_is_one_servers_and_one_runners_at_a_time() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.keep("a", &result("a"), false).unwrap();
    assert!(refused(&directory.0).contains("another runner uses it"), "{}", refused(&directory.0));
    drop(store);
    let other = Store::open(&directory.0, "http://other/api", Bounds::default(), Journal::Finish);
    let Err(Error::StoreServer { belongs_to, server, .. }) = other else {
        panic!("it is not for this server")
    };
    assert_eq!((belongs_to.as_str(), server.as_str()), (SERVER, "http://other/api"));
    let slash = Store::open(&directory.0, &format!("{SERVER}/"), Bounds::default(), Journal::Finish).unwrap();
    assert_eq!(slash.1.results, 1);
}

#[test]
fn a_damaged_header_opens_the_store_to_no_other_server() {
    for at in 12..84 {
        let directory = Directory::in_memory();
        let (store, _) = directory.open();
        store.keep("a", &result("a"), false).unwrap();
        drop(store);
        let mut bytes = fs::read(directory.segment()).unwrap();
        bytes[at] ^= 1;
        fs::write(directory.segment(), &bytes).unwrap();
        let other = || Store::open(&directory.0, "http://other/api", Bounds::default(), Journal::Finish);
        assert!(matches!(other(), Err(Error::StoreServer { .. })), "byte {at}");
        // A store of an earlier version has no second place for the name.
        fs::remove_file(directory.0.join("server")).unwrap();
        assert!(matches!(other(), Err(Error::StoreServer { .. })), "byte {at}");
        assert!(refused(&directory.0).contains("into the file `server`"), "byte {at}");
        fs::write(directory.0.join("server"), SERVER).unwrap();
        assert_eq!(waiting(&directory.open().0), ["a"], "byte {at}");
    }
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.keep("a", &result("a"), false).unwrap();
    drop(store);
    let path = directory.segment();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 3;
    fs::write(&path, &bytes).unwrap();
    let error = refused(&directory.0);
    assert!(error.contains("it is of format 3") && error.contains("reads up to 2"), "{error}");
    assert_eq!(fs::read(directory.segment()).unwrap(), bytes);
}

#[test]
fn the_files_of_earlier_versions_wait_before_the_journal() {
    let directory = Directory::new();
    fs::write(directory.0.join("0000000000001-1-0.json"), result("old")).unwrap();
    fs::write(directory.0.join("0000000000002-1-0.new"), "{").unwrap();
    let (store, recovered) = directory.open();
    assert_eq!(recovered.results, 1);
    store.keep("new", &result("new"), false).unwrap();
    assert_eq!(waiting(&store), ["old", "new"]);
    let item = store.items().unwrap().remove(0);
    assert!(store.retire(&item, &result("old"), "no").unwrap());
    assert_eq!(directory.names("dead"), ["0000000000001-1-0.json", "0000000000001-1-0.why"]);
    assert_eq!(waiting(&store), ["new"]);
}

#[test]
fn what_others_have_put_there_stays_and_stops_no_start() {
    let directory = Directory::new();
    fs::create_dir(directory.0.join("x.new")).unwrap();
    fs::create_dir(directory.0.join("0000000000001-1-0.new")).unwrap();
    fs::write(directory.0.join("notes.new"), "mine").unwrap();
    drop(directory.open());
    for name in ["x.new", "0000000000001-1-0.new", "notes.new"] {
        assert!(directory.0.join(name).exists(), "{name}");
    }
}

#[test]
fn a_directory_that_is_no_store_is_not_listed_and_nothing_there_is_dropped() {
    let directory = Directory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let file = directory.0.join("package.json");
    fs::write(&file, r#"{"name":"mine"}"#).unwrap();
    let error = list(&directory.0).map(drop).unwrap_err().to_string();
    assert!(error.contains("no runner has used this directory"), "{error}");
    assert!(drop_letters(&directory.0, Selected::AllDead).is_err());
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "not even a lock");
    assert!(file.exists());
}

#[test]
fn a_dead_letter_is_listed_with_its_reason_put_back_and_dropped() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.keep("waits", &result("waits"), false).unwrap();
    store.bury("a", &result("a"), "the server said 422").unwrap();
    store.bury("b", &result("b"), "no").unwrap();
    // While the runner works.
    let listing = list(&directory.0).unwrap();
    assert_eq!(listing.server.as_deref(), Some(SERVER));
    let parts: Vec<(Part, Option<&str>)> =
        listing.letters.iter().map(|letter| (letter.part, letter.task_id.as_deref())).collect();
    assert_eq!(parts, [(Part::Waiting, Some("waits")), (Part::Dead, Some("a")), (Part::Dead, Some("b"))]);
    let letter = listing.find("a").unwrap();
    assert_eq!(letter.why.as_deref(), Some("the server said 422"));
    assert_eq!((letter.status.as_deref(), letter.at_ms.is_some()), (Some("COMPLETED"), true));
    assert_eq!(letter.body().unwrap(), result("a"));
    let ids = ["a".to_owned(), "nothing".to_owned()];
    let changed = retry(&directory.0, Selected::Ids(&ids)).unwrap();
    assert_eq!((changed.done.len(), changed.unknown), (1, vec!["nothing".to_owned()]));
    assert_eq!(waiting(&store), ["a", "waits"]);
    // Results that wait are the runner's while it works; dead letters are nobody's.
    let error = drop_letters(&directory.0, Selected::Ids(&["waits".to_owned()])).unwrap_err();
    assert!(error.to_string().contains("another runner uses it"), "{error}");
    assert_eq!(drop_letters(&directory.0, Selected::AllDead).unwrap().done.len(), 1);
    assert!(directory.names("dead").is_empty());
    drop(store);
    drop_letters(&directory.0, Selected::Ids(&["waits".to_owned(), "a".to_owned()])).unwrap();
    assert!(list(&directory.0).unwrap().letters.is_empty());
    assert_eq!(directory.open().1.results, 0);
}

#[test]
fn a_file_that_is_no_result_is_neither_dropped_nor_put_back() {
    let directory = Directory::new();
    let (store, _) = directory.open();
    store.bury("a", &result("a"), "no").unwrap();
    drop(store);
    let others = ["package.json", "dead/notes.json", "damaged/notes.txt"];
    for name in others {
        fs::write(directory.0.join(name), r#"{"name":"mine"}"#).unwrap();
    }
    fs::write(directory.0.join("damaged/journal-record.part"), "?").unwrap();
    let ids = ["package", "notes", "notes.txt"].map(str::to_owned);
    let changed = drop_letters(&directory.0, Selected::Ids(&ids)).unwrap();
    assert_eq!((changed.done.len(), changed.unknown.len()), (0, 0));
    assert_eq!(changed.left, ids);
    assert_eq!(retry(&directory.0, Selected::Ids(&ids[1..2])).unwrap().left, ids[1..2]);
    let changed = drop_letters(&directory.0, Selected::AllDead).unwrap();
    assert_eq!((changed.done.len(), changed.left.as_slice()), (1, &ids[1..2]));
    let set_aside = ["journal-record.part".to_owned()];
    assert_eq!(drop_letters(&directory.0, Selected::Ids(&set_aside)).unwrap().done, set_aside);
    for name in others {
        assert!(directory.0.join(name).exists(), "{name}");
    }
}
