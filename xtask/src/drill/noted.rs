//! Which workflows a runner has noted in its store: their ids stand there as they are, whatever the format is.

use std::collections::BTreeSet;
use std::path::Path;

/// Bytes of an id.
const LENGTH: usize = 36;
/// Where its hyphens are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The ids of a drill's workflows that were seen in a store so far.
#[derive(Default)]
pub(crate) struct Noted(BTreeSet<String>);

impl Noted {
    pub(crate) fn has(&self, workflow: &str) -> bool {
        self.0.contains(workflow)
    }

    /// Adds those of the workflows that stand in a store's files, as [`read`] gave them.
    pub(crate) fn add(&mut self, files: &[Vec<u8>], workflows: &BTreeSet<String>) {
        for bytes in files {
            // What is only preallocated is zero.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let written = bytes.get(..end).unwrap_or_default();
            for word in written.windows(LENGTH) {
                if HYPHENS.iter().all(|at| word.get(*at) == Some(&b'-'))
                    && let Ok(id) = std::str::from_utf8(word)
                    && workflows.contains(id)
                {
                    self.0.insert(id.to_owned());
                }
            }
        }
    }
}

/// The files of a store, those in its folders not: results that wait, and tasks in hand.
pub(crate) fn read(store: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(store).into_iter().flatten().flatten();
    entries.filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_between_other_bytes_and_a_foreign_one_is_not() {
        let [ours, theirs] = ["01234567-89ab-4cde-8f01-23456789abcd", "11234567-89ab-4cde-8f01-23456789abcd"];
        let workflows = BTreeSet::from([ours.to_owned()]);
        let mut noted = Noted::default();
        noted.add(&[format!("\u{1}{theirs}\u{2}").into_bytes()], &workflows);
        assert!(!noted.has(ours) && !noted.has(theirs));
        noted.add(&[format!("\u{1}{ours}\0\0").into_bytes()], &workflows);
        assert!(noted.has(ours) && !noted.has(theirs));
    }
}
