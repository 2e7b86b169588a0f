//! Command-line words: `--name value` and `--switch`, or names alone.

use crate::process::Failure;

/// The words after the command.
pub(crate) struct Args<'a> {
    words: &'a [String],
}

impl<'a> Args<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words }
    }

    /// Refuses any word: the command takes none.
    pub(crate) fn none(&self) -> Result<(), Failure> {
        self.known(&[], &[])
    }

    /// Refuses words that are neither one of `options` with a value nor one of `switches`.
    pub(crate) fn known(&self, options: &[&str], switches: &[&str]) -> Result<(), Failure> {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if switches.contains(&word.as_str()) {
                continue;
            }
            if !options.contains(&word.as_str()) {
                let all: Vec<&str> = options.iter().chain(switches).copied().collect();
                return Err(Failure::new(format!(
                    "`{word}` is not understood; known here: {}",
                    all.join(" ")
                )));
            }
            if words.next().is_none() {
                return Err(Failure::new(format!("`{word}` needs a value")));
            }
        }
        Ok(())
    }

    /// All words, for a command that takes names and no options.
    pub(crate) fn names(&self) -> Result<&'a [String], Failure> {
        match self.words.iter().find(|word| word.starts_with('-')) {
            None => Ok(self.words),
            Some(word) => {
                Err(Failure::new(format!("`{word}` is not understood; names alone are taken here")))
            }
        }
    }

    pub(crate) fn has(&self, switch: &str) -> bool {
        self.words.iter().any(|word| word == switch)
    }

    /// Every value of an option that may be given more than once.
    pub(crate) fn all(&self, option: &str) -> Vec<&'a str> {
        let pairs = self.words.iter().zip(self.words.iter().skip(1));
        pairs.filter(|(name, _)| *name == option).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn value(&self, option: &str) -> Option<&'a str> {
        self.all(option).last().copied()
    }

    pub(crate) fn number(&self, option: &str, default: u32) -> Result<u32, Failure> {
        match self.value(option) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Failure::new(format!("`{option} {text}`: a whole number is needed there"))),
        }
    }
}
