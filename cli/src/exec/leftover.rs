//! Ends commands whose runner is gone.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::process::{self, Stat};
use crate::clock;

/// From SIGTERM to SIGKILL for a command whose runner is gone.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How often downbeat looks who is still there.
const LOOK: Duration = Duration::from_millis(20);

/// A command's process group, and when its first process started: together never another's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Group {
    pub(super) leader: Pid,
    pub(super) started: Option<u64>,
}

impl Group {
    /// Whether the first process is still the one that was meant, or `None` if there is none of that number.
    fn is_same(self) -> Option<bool> {
        Stat::from_pid(self.leader).map(|stat| self.started.is_none_or(|started| started == stat.started))
    }
}

/// Ends a command that outlived its runner: its process group `pgid`, if that is still the group whose first process
/// `started` at this tick. SIGTERM, and SIGKILL for who is still there 2 s later; returns once nobody is, and says
/// whether there was somebody. Where the first process has ended, members are ended that carry a command's mark.
pub(crate) fn end_leftover(pgid: i32, started: u64) -> bool {
    let Some(leader) = (pgid > 1).then(|| Pid::from_raw(pgid)).flatten() else { return false };
    let group = Group { leader, started: Some(started) };
    match group.is_same() {
        Some(false) => false,
        Some(true) => {
            // Its children have its mark, also those that have left the group.
            let mark = process::mark(leader);
            end(&[group], &|stat| !stat.zombie && mark.is_some() && process::mark(stat.pid) == mark)
        }
        None => end(&[], &|stat| stat.group == pgid && process::mark(stat.pid).is_some()),
    }
}

/// Ends these groups, and processes that are `marked`; says whether there was somebody.
pub(super) fn end(groups: &[Group], marked: &dyn Fn(&Stat) -> bool) -> bool {
    let mut groups: Vec<Group> =
        groups.iter().copied().filter(|group| group.is_same().unwrap_or_else(|| is_there(*group))).collect();
    if groups.is_empty() && !process::all().any(|stat| marked(&stat)) {
        return false;
    }
    let until = clock::now() + GRACE;
    signal(&groups, marked, Signal::TERM);
    while remain(&groups, marked) {
        if clock::left(until).is_zero() {
            // A group's number is nobody else's as long as the group has a member.
            groups.retain(|group| group.is_same() != Some(false));
            signal(&groups, marked, Signal::KILL);
            // Once is enough but for processes that were just being started; a device may hold one for ever.
            if clock::left(until + GRACE).is_zero() {
                break;
            }
        }
        clock::pause(LOOK);
    }
    true
}

fn signal(groups: &[Group], marked: &dyn Fn(&Stat) -> bool, signal: Signal) {
    for group in groups {
        let _nobody = kill_process_group(group.leader, signal);
    }
    for stat in process::all().filter(|stat| marked(stat)) {
        let _gone = kill_process(stat.pid, signal);
    }
}

/// Whether somebody is still there; who has ended and was not reaped is not.
fn remain(groups: &[Group], marked: &dyn Fn(&Stat) -> bool) -> bool {
    if !process::is_visible() {
        return groups.iter().any(|group| is_there(*group));
    }
    let is_one = |stat: &Stat| {
        groups.iter().any(|group| group.leader.as_raw_nonzero().get() == stat.group) || marked(stat)
    };
    process::all().any(|stat| !stat.zombie && is_one(&stat))
}

fn is_there(group: Group) -> bool {
    test_kill_process_group(group.leader).is_ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(script: &str, marked: bool) -> (Child, i32) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdout(Stdio::piped());
        if marked {
            command.env(process::MARK, "/nowhere/17");
        }
        let child = command.spawn().expect("a shell is there");
        let pgid = Pid::from_child(&child).as_raw_nonzero().get();
        (child, pgid)
    }

    fn is_running(group: i32) -> bool {
        process::all().any(|stat| stat.group == group && !stat.zombie)
    }

    #[test]
    fn a_group_is_ended_by_its_number_and_start_and_by_no_other_start() {
        for script in ["sleep 600", "trap '' TERM; sleep 600 & while :; do sleep 0.05; done"] {
            let (mut child, pgid) = start(script, false);
            let started = process::started(Pid::from_child(&child)).unwrap();
            for other in [started - 1, started + 1, 0] {
                assert!(!end_leftover(pgid, other));
                assert!(is_running(pgid), "another start, and it was ended");
            }
            assert!(end_leftover(pgid, started));
            assert!(!is_running(pgid));
            child.wait().unwrap();
            assert!(!end_leftover(pgid, started), "nobody is left");
        }
        assert!(!end_leftover(1, 0) && !end_leftover(0, 0) && !end_leftover(-1, 0));
    }

    #[test]
    fn children_that_have_left_the_group_are_ended_with_it() {
        let (mut child, pgid) = start("setsid sh -c 'echo $$; exec sleep 600'", true);
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let apart: i32 = line.trim().parse().unwrap();
        assert!(apart != pgid && is_running(apart), "it has a group of its own");
        let started = process::started(Pid::from_child(&child)).unwrap();
        assert!(end_leftover(pgid, started));
        assert!(!is_running(apart) && !is_running(pgid));
        child.wait().unwrap();
    }

    #[test]
    fn of_a_group_without_its_first_process_those_are_ended_that_a_command_has_started() {
        for marked in [false, true] {
            let (mut child, pgid) = start("sleep 600 & echo", marked);
            child.wait().unwrap();
            assert_eq!(end_leftover(pgid, 1), marked);
            assert_eq!(is_running(pgid), !marked);
            let _gone = kill_process_group(Pid::from_raw(pgid).unwrap(), Signal::KILL);
        }
    }
}
