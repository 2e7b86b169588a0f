//! Which file of a crate may import which: no circles, and no arrow from a lower room to an upper one (ARCHITECTURE.md).
//!
//! By text alone, as tidy. A file is what counts, a folder's `mod.rs` too; a name that a `mod.rs` passes on
//! (`pub use`) counts as imported from where it comes from. What only tests import does not count.

mod graph;
mod imports;

use std::collections::BTreeSet;

use downbeat_tests::sources;

use crate::graph::Graph;

/// A crate, by its folder, and its rooms from the lowest up: files and folders below `src`, without `.rs`.
struct House {
    folder: &'static str,
    rooms: &'static [&'static str],
    /// Circles that are there still, by their files. They may only shrink.
    circles: &'static [&'static [&'static str]],
    /// Arrows up that are there still. They may only become fewer.
    back_up: &'static [(&'static str, &'static str)],
}

const HOUSES: [House; 4] = [
    House {
        folder: "core",
        rooms: &["machine", "record", "ports", "wire", "http", "drive", "lib"],
        circles: &[],
        back_up: &[],
    },
    House { folder: "server", rooms: &["random", "model", "http", "lib"], circles: &[], back_up: &[] },
    House {
        folder: "transport-std",
        rooms: &[
            "error",
            "clock",
            "context",
            "metrics",
            "event",
            "handler",
            "worker",
            "config",
            "transport",
            "store",
            "hub",
            "record",
            "runner",
            "lib",
        ],
        circles: &[],
        back_up: &[],
    },
    House {
        folder: "sim",
        rooms: &[
            "commit",
            "built",
            "random",
            "scenario",
            "event",
            "world",
            "oracle/violation",
            "record",
            "oracle",
            "probe",
            "oracle/oracles",
            "trial",
            "mutants",
            "recorded",
            "tampered",
            "swarm",
            "replay",
            "shrink",
            "report",
            "view",
            "explain",
            "step",
            "table",
            "conform",
            "cli",
            "lib",
            "main",
        ],
        circles: &[],
        back_up: &[],
    },
];

#[test]
fn files_do_not_import_each_other_in_circles() {
    let sources = sources();
    let mut wrong = Vec::new();
    for house in &HOUSES {
        let graph = Graph::read(&sources, house.folder);
        let circles = graph.circles();
        let (files, arrows) = (graph.files(), graph.arrows().count());
        println!("{}: {files} files, {arrows} arrows, {} circles", house.folder, circles.len());
        let known: Vec<BTreeSet<&str>> =
            house.circles.iter().map(|files| files.iter().copied().collect()).collect();
        for circle in &circles {
            println!("  a circle of {}: {}", circle.len(), list(circle));
            if !known.contains(circle) {
                wrong.push(format!("{}: a circle that is not known: {}", house.folder, list(circle)));
            }
        }
        for circle in known.iter().filter(|circle| !circles.contains(circle)) {
            wrong.push(format!(
                "{}: not there any more, take it off the list: {}",
                house.folder,
                list(circle)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_room_imports_one_above_it() {
    let sources = sources();
    let mut wrong = Vec::new();
    for house in &HOUSES {
        let graph = Graph::read(&sources, house.folder);
        let mut ups: Vec<(&str, &str)> = Vec::new();
        for (from, to) in graph.arrows() {
            match (floor(house, from), floor(house, to)) {
                (Some(here), Some(there)) if here < there => ups.push((from, to)),
                (None, _) => {
                    wrong.push(format!("{}: which room is {from} in? Name it in HOUSES", house.folder))
                }
                _ => {}
            }
        }
        println!("{}: {} arrows from a lower room to an upper one", house.folder, ups.len());
        for (from, to) in &ups {
            println!("  {from} -> {to}");
            if !house.back_up.contains(&(*from, *to)) {
                wrong.push(format!("{}: {from} imports {to}, which is in a room above", house.folder));
            }
        }
        for (from, to) in house.back_up.iter().filter(|arrow| !ups.contains(arrow)) {
            wrong.push(format!(
                "{}: {from} -> {to} is not there any more, take it off the list",
                house.folder
            ));
        }
    }
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

/// How high up a file's room is.
fn floor(house: &House, file: &str) -> Option<usize> {
    let within =
        |room: &str| file == room || file.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'));
    // The longest name counts: a file may be a room of its own, apart from the folder in which it lies.
    let (floor, _) =
        house.rooms.iter().enumerate().filter(|(_, room)| within(room)).max_by_key(|(_, room)| room.len())?;
    Some(floor)
}

fn list(files: &BTreeSet<&str>) -> String {
    files.iter().copied().collect::<Vec<_>>().join(" ")
}
