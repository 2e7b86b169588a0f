//! Other processes of this machine, as `/proc` shows them. Elsewhere than on Linux nothing is seen.

use std::path::Path;

use rustix::process::Pid;

/// The variable by which a command's descendants are known: no other run of any task has its value.
pub(super) const MARK: &str = "DOWNBEAT_RESULT";

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stat {
    pub(super) pid: Pid,
    pub(super) zombie: bool,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// When it started, in clock ticks since the machine did: with the number, a name that is never another's.
    pub(super) started: u64,
}

impl Stat {
    /// `None`: there is no such process.
    pub(super) fn from_pid(pid: Pid) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(pid, &text)
    }

    /// The name, in parentheses, may contain anything; the last parenthesis ends it.
    fn parse(pid: Pid, text: &str) -> Option<Self> {
        let (_, after) = text.rsplit_once(')')?;
        let mut fields = after.split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Field 22; the group was field 5.
        let started = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, zombie, parent, group, started })
    }
}

/// When a process started; `None` if that cannot be seen.
pub(super) fn started(pid: Pid) -> Option<u64> {
    Stat::from_pid(pid).map(|stat| stat.started)
}

/// All processes, as far as they can be seen.
pub(super) fn all() -> impl Iterator<Item = Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Stat::from_pid(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?))
}

/// The value of [`MARK`] with which the process was started, or `None` if it has none or may not be looked
/// at.
pub(super) fn mark(pid: Pid) -> Option<Vec<u8>> {
    let environ = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let marked = |variable: &[u8]| {
        variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")).map(<[u8]>::to_vec)
    };
    environ.split(|byte| *byte == 0).find_map(marked)
}

/// Whether `/proc` is there and counts processes as this one does: not that of an outer namespace.
pub(super) fn is_visible() -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    std::fs::read_link("/proc/self").is_ok_and(|link| link == Path::new(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_move_the_fields() {
        let pid = Pid::from_raw(7).unwrap();
        let text = "7 (a) Z (b c) S 4 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n";
        let stat = Stat { pid, zombie: false, parent: 4, group: 5, started: 987_654 };
        assert_eq!(Stat::parse(pid, text), Some(stat));
        assert_eq!(Stat::parse(pid, "7 (a) S 4 5"), None);
        assert_eq!(Stat::parse(pid, ""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_seen() {
        let own = rustix::process::getpid();
        assert!(is_visible() && all().any(|stat| stat.pid == own && !stat.zombie));
        assert!(started(own) > Some(0));
    }
}
