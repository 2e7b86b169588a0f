//! A process that writes results is killed: what it had confirmed is there.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

/// The directory, for the process that is to be killed.
const PLACE: &str = "DOWNBEAT_TEST_STORE";
const NAME: &str = "store::tests::kill::what_was_confirmed_before_a_kill_is_there_after_it";

/// Writes results from several threads, and says of each when it is durable, until it is killed.
fn write_for_ever(place: &str) {
    let (store, recovered) =
        Store::open(Path::new(place), SERVER, Bounds::default(), Journal::Finish).unwrap();
    let from = recovered.results;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for nth in 0.. {
                    let task = format!("{from}-{thread}-{nth}");
                    store.lease(&note(&task)).unwrap();
                    store.result(&task, &result(&task)).unwrap();
                    let mut out = io::stderr().lock();
                    writeln!(out, "done {task}").unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_confirmed_before_a_kill_is_there_after_it() {
    if let Ok(place) = std::env::var(PLACE) {
        return write_for_ever(&place);
    }
    let directory = Directory::new();
    let mut confirmed = BTreeSet::new();
    for run in 1..=5 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([NAME, "--exact", "--nocapture"]).env(PLACE, &directory.0);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        for line in said.lines().map(Result::unwrap) {
            // The last line may be cut off, too; then it is not counted as confirmed but by chance.
            confirmed.extend(line.strip_prefix("done ").map(str::to_owned));
            if confirmed.len() >= run * 100 {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(confirmed.len() >= run * 100, "the writer ended by itself in run {run}");
        let (store, recovered) = directory.open();
        let there: BTreeSet<String> = waiting(&store).into_iter().collect();
        let lost: Vec<&String> = confirmed.difference(&there).collect();
        assert!(lost.is_empty(), "lost in run {run}: {lost:?}");
        // At most one task of each thread has no result.
        assert!(recovered.give_back.len() <= 4 * run, "{:?}", recovered.give_back);
        assert_eq!(recovered.warnings, [""; 0]);
    }
}
