//! How often each kind of trouble has hit, and whether each did.

use crate::process::Failure;

/// One kind of trouble.
pub(crate) struct Row {
    name: String,
    wanted: u64,
    hits: u64,
}

impl Row {
    /// A kind that has to hit at least `wanted` times.
    pub(crate) fn new(name: &str, wanted: u64, hits: u64) -> Self {
        Self { name: name.to_owned(), wanted, hits }
    }
}

/// Prints all rows; fails where one has too few hits.
pub(crate) fn judge(rows: &[Row]) -> Result<(), Failure> {
    println!("{:<42} {:>8} {:>5}", "trouble", "at least", "hits");
    for Row { name, wanted, hits } in rows {
        println!("{name:<42} {wanted:>8} {hits:>5}");
    }
    let missed: Vec<&str> = rows.iter().filter(|row| row.hits < row.wanted).map(|row| &*row.name).collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not hit often enough, so not shown to be survived: {}", missed.join("; "))))
}
