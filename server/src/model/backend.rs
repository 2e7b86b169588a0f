//! What keeps the queues, as far as a worker can tell.

/// How a poll waits on the server's queue (R-POLL-3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Backend {
    /// Until the first task is there (Redis).
    #[default]
    Redis,
    /// Until `count` tasks are there, or the time is over (SQLite, Postgres).
    Sql,
    /// Not at all (MySQL).
    None,
}
