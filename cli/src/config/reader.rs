//! Values of a configuration file, each with its line, and what is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::source::{Problem, Source};
use super::value;

/// Reads values of one file, and collects what is wrong with it.
pub(crate) struct Reader<'a> {
    /// How messages call the file.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

pub(crate) type Table<'a> = DeTable<'a>;
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    pub(super) fn command(&mut self, found: &Value<'_>, key: &str) -> Option<Vec<OsString>> {
        match found.get_ref().as_array().map(strings) {
            Some(Some(words)) if words.first().is_some_and(|program| !program.is_empty()) => Some(words),
            Some(Some(_)) => self.refuse(found, key, "must name a program"),
            Some(None) | None => self.refuse(found, key, &format!("must be {}", value::COMMAND)),
        }
    }

    pub(super) fn variables(&mut self, found: &Value<'_>, key: &str) -> Option<BTreeMap<String, String>> {
        let Some(members) = found.get_ref().as_table() else {
            return self.refuse(found, key, &format!("must be {}", value::VARIABLES));
        };
        let mut variables = BTreeMap::new();
        for (name, value) in members {
            let name = name.get_ref().to_string();
            let usable = !name.is_empty() && !name.contains(['=', '\0']);
            match value.get_ref().as_str() {
                Some(text) if usable && !text.contains('\0') => drop(variables.insert(name, text.to_owned())),
                _ => {
                    let text = "must be a text, and its name without `=`";
                    self.problem(value, &format!("{key}.{name}"), text);
                }
            }
        }
        Some(variables).filter(|variables| !variables.is_empty())
    }

    pub(super) fn switch(&mut self, found: &Value<'_>, key: &str) -> Option<bool> {
        let switch = found.get_ref().as_bool();
        if switch.is_none() {
            self.problem(found, key, "must be true or false");
        }
        switch
    }

    pub(super) fn number<T: Copy + PartialOrd + fmt::Display + TryFrom<u64>>(
        &mut self,
        found: &Value<'_>,
        key: &str,
        bounds: (T, T),
    ) -> Option<T> {
        let number = found.get_ref().as_integer();
        let number = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.and_then(|number| T::try_from(number).ok());
        match number.filter(|number| (bounds.0..=bounds.1).contains(number)) {
            Some(number) => Some(number),
            None => self.refuse(found, key, &format!("must be {}", value::within(bounds))),
        }
    }

    pub(super) fn hosts(&mut self, found: &Value<'_>, key: &str) -> Option<Vec<String>> {
        let hosts: Option<Vec<String>> = found.get_ref().as_array().and_then(|list| {
            list.iter().map(|item| item.get_ref().as_str().and_then(|text| value::host(text).ok())).collect()
        });
        if hosts.is_none() {
            self.problem(found, key, &format!("must be {}", value::HOSTS));
        }
        hosts
    }

    pub(super) fn table<'t, 'i>(&mut self, root: &'t Table<'i>, key: &str) -> Option<&'t Table<'i>> {
        let found = root.get(key)?;
        let table = found.get_ref().as_table();
        if table.is_none() {
            self.problem(found, key, &format!("must be a table: write `[{key}]`, with one pair of brackets"));
        }
        table
    }

    /// Names every key that is not known, and the one that was probably meant.
    pub(super) fn keys(&mut self, table: &Table<'_>, path: &str, known: &[&str]) {
        for name in table.keys() {
            let key = name.get_ref();
            if known.contains(&key.as_ref()) {
                continue;
            }
            let text = match key.as_ref() {
                "auth_secret" => {
                    "a secret does not belong into a file that is passed around: name its variable \
                                  (auth_secret_env) or its own file (auth_secret_file)"
                        .to_owned()
                }
                _ => format!("is not known; {}", suggest(key, known)),
            };
            let source = self.source(&name.span());
            self.problems.push(Problem { source, key: format!("{path}{key}"), text });
        }
    }

    fn refuse<T>(&mut self, found: &Value<'_>, key: &str, text: &str) -> Option<T> {
        self.problem(found, key, text);
        None
    }

    pub(super) fn problem(&mut self, found: &Value<'_>, key: &str, text: &str) {
        let source = self.source(&found.span());
        self.problems.push(Problem { source, key: key.to_owned(), text: text.to_owned() });
    }

    pub(super) fn source(&self, span: &Range<usize>) -> Source {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Source::File { name: self.name.to_owned(), line }
    }
}

fn strings(list: &DeArray<'_>) -> Option<Vec<OsString>> {
    let text =
        |item: &Value<'_>| item.get_ref().as_str().filter(|text| !text.contains('\0')).map(OsString::from);
    list.iter().map(text).collect()
}

/// `did you mean …?`, or the list of what is known.
fn suggest(key: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(&key.to_lowercase(), known), known));
    match near.min().filter(|(distance, known)| *distance <= 1 + known.len() / 4) {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("allowed are {}", known.join(", ")),
    }
}
