//! Values on the command line, and what is said of those that cannot be used.

use crate::mutants::Machines;
use crate::scenario::Span;

/// Which machines to run with.
#[derive(clap::Args)]
pub(super) struct Mistaken {
    /// Let every worker make this mistake (`mutants` lists them), to see a failure.
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Option<Machines>,
}

impl Mistaken {
    /// Those, or sound ones.
    pub(super) fn machines(&self) -> Machines {
        self.mutant.unwrap_or(Machines::SOUND)
    }
}

/// A known mistake.
fn mutant(text: &str) -> Result<Machines, String> {
    Machines::named(text)
}

/// How many of something; one at the least.
pub(super) fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("0 would do nothing; give 1 or more".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number from 1 on is needed".to_owned()),
    }
}

/// How many threads.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("no thread would run anything; give 1 to 1024".to_owned()),
        Ok(jobs @ 1..=1_024) => Ok(jobs),
        _ => Err("a number of threads from 1 to 1024 is needed".to_owned()),
    }
}

/// A length of time above zero.
pub(super) fn time(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    if span.get().is_zero() {
        return Err("no time is left to run anything; give a length above zero, such as 60s".to_owned());
    }
    Ok(span)
}
