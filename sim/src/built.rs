//! What this program was built from.

use std::path::Path;
use std::sync::OnceLock;

use crate::commit;

/// Returns the commit that this program was built from, with `-dirty` if its sources had been changed since;
/// `unknown` if it was built outside git.
pub fn commit() -> &'static str {
    static COMMIT: OnceLock<String> = OnceLock::new();
    COMMIT.get_or_init(|| {
        let found = match option_env!("DOWNBEAT_COMMIT") {
            Some(told) => Some(told.to_owned()),
            // A debug build is told nothing, and is where its sources are.
            None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(commit::checked_out),
        };
        found.filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    })
}
