//! What is compared: a runner without a store, and two with one.

use std::path::Path;

use downbeat::Runner;

#[derive(Clone, Copy)]
pub(crate) enum Mode {
    NoStore,
    Finish,
    Off,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::NoStore, Self::Finish, Self::Off];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoStore => "no store",
            Self::Finish => "journal=finish",
            Self::Off => "journal=off",
        }
    }

    /// Gives the runner its store.
    pub(crate) fn apply(self, runner: Runner, store: &Path) -> Runner {
        match self {
            Self::NoStore => runner,
            Self::Finish => runner.store(store).journal("finish".parse().unwrap_or_default()),
            Self::Off => runner.store(store).journal("off".parse().unwrap_or_default()),
        }
    }
}

/// Makes this program compile on commits before the journal, to compare with: there it does nothing, and where the
/// runner has a method of this name, that one is called.
trait Journal {
    fn journal(self, when: String) -> Self;
}

impl Journal for Runner {
    fn journal(self, _when: String) -> Self {
        self
    }
}

/// So that it counts as used where it is not.
const _: fn(Runner, String) -> Runner = <Runner as Journal>::journal;
