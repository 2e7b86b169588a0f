//! What a file imports from its own crate, by its text alone: no macros are expanded, and no types are known.

use std::collections::BTreeSet;

/// What one file says of modules.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// The modules that it declares in files of their own.
    pub children: BTreeSet<String>,
    /// Names that it passes on (`pub use`): the name, and the path to what is meant.
    pub passed_on: Vec<(String, Vec<String>)>,
    /// Paths that it uses itself.
    pub used: Vec<Vec<String>>,
}

/// Reads a file that is the module `module` (`["machine", "table"]`), tests left out.
pub(crate) fn read(text: &str, module: &[String]) -> Imports {
    let tokens = tokens(text);
    let mut reader =
        Reader { tokens: &tokens, at: 0, inline: Vec::new(), depth: 0, imports: Imports::default() };
    let mut paths = Vec::new();
    while let Some(token) = reader.peek(0) {
        reader.item(token, module, &mut paths);
    }
    let mut imports = reader.imports;
    // A path of one word more than a child's name is a path to that child; others are names of other crates.
    let ours = |path: &Vec<String>| {
        path.first().is_some_and(|first| first == "crate" || imports.children.contains(first))
    };
    let mut used: Vec<Vec<String>> = paths.into_iter().filter(ours).collect();
    used.iter_mut().for_each(|path| absolute(path, module));
    let mut passed_on = std::mem::take(&mut imports.passed_on);
    passed_on.retain(|(_, path)| ours(path));
    passed_on.iter_mut().for_each(|(_, path)| absolute(path, module));
    imports.used = used;
    imports.passed_on = passed_on;
    imports
}

/// Makes a path one from the root of the crate.
fn absolute(path: &mut Vec<String>, module: &[String]) {
    if path.first().is_some_and(|first| first == "crate") {
        path.remove(0);
    } else {
        path.splice(0..0, module.iter().cloned());
    }
}

struct Reader<'a> {
    tokens: &'a [String],
    at: usize,
    /// The depths of braces at which modules within the file begin.
    inline: Vec<usize>,
    depth: usize,
    imports: Imports,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).map(String::as_str)
    }

    fn item(&mut self, token: &str, module: &[String], paths: &mut Vec<Vec<String>>) {
        match token {
            "#" => self.attribute(),
            "mod" => self.module(),
            // `use<'a>` says what a type captures.
            "use" if self.peek(1) != Some("<") => self.import(module, paths),
            "{" => {
                self.depth += 1;
                self.at += 1;
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                }
                self.at += 1;
            }
            _ if is_name(token) && self.peek(1) == Some("::") => self.path(module, paths),
            _ => self.at += 1,
        }
    }

    /// Passes an attribute, and what stands under one that only tests see.
    fn attribute(&mut self) {
        self.at += 1;
        let inner = self.peek(0) == Some("!");
        self.at += usize::from(inner);
        let begin = self.at;
        self.pass_group("[", "]");
        let words = self.tokens.get(begin..self.at).unwrap_or_default();
        let says = |word: &str| words.iter().any(|token| token == word);
        if !inner && says("cfg") && says("test") && !says("not") {
            self.pass_item();
        }
    }

    /// Passes what stands between two brackets, both included.
    fn pass_group(&mut self, open: &str, close: &str) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek(0) {
            if token == open {
                depth += 1;
            } else if token == close {
                depth -= 1;
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes an item: up to its `;`, or to the end of its braces.
    fn pass_item(&mut self) {
        while let Some(token) = self.peek(0) {
            if token == "{" {
                return self.pass_group("{", "}");
            }
            self.at += 1;
            if token == ";" {
                return;
            }
        }
    }

    fn module(&mut self) {
        match (self.peek(1).map(str::to_owned), self.peek(2)) {
            (Some(name), Some(";")) => {
                if self.inline.is_empty() {
                    self.imports.children.insert(name);
                }
                self.at += 3;
            }
            (Some(_), Some("{")) => {
                self.inline.push(self.depth);
                self.depth += 1;
                self.at += 3;
            }
            _ => self.at += 1,
        }
    }

    fn import(&mut self, module: &[String], paths: &mut Vec<Vec<String>>) {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let public = before.is_some_and(|token| token == "pub" || token == ")");
        self.at += 1;
        let mut found = Vec::new();
        self.tree(&[], &mut found);
        for (name, mut path) in found {
            if !self.rooted(&mut path, module) {
                continue;
            }
            if public {
                self.imports.passed_on.push((name, path));
            } else {
                paths.push(path);
            }
        }
    }

    /// Reads one tree of a `use`: the names that it brings, and their paths.
    fn tree(&mut self, prefix: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let mut path = prefix.to_vec();
        while let Some(token) = self.peek(0).map(str::to_owned) {
            match token.as_str() {
                "{" => {
                    self.at += 1;
                    while let Some(token) = self.peek(0).filter(|token| !matches!(*token, "}" | ";")) {
                        if token == "," {
                            self.at += 1;
                        } else {
                            self.tree(&path, found);
                        }
                    }
                    self.at += 1;
                    return;
                }
                "}" | ";" | "," => break,
                "::" => self.at += 1,
                "as" => {
                    found.push((self.peek(1).unwrap_or_default().to_owned(), path.clone()));
                    self.at += 2;
                    path.clear();
                }
                "self" if !path.is_empty() => self.at += 1,
                _ => {
                    path.push(token);
                    self.at += 1;
                }
            }
        }
        if let Some(name) = path.last().cloned() {
            found.push((name, path));
        }
    }

    /// A path within the code: `crate::a::b`, `super::a`, `child::a`.
    fn path(&mut self, module: &[String], paths: &mut Vec<Vec<String>>) {
        let follows =
            self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).is_some_and(|token| token == "::");
        let mut path = vec![self.peek(0).unwrap_or_default().to_owned()];
        self.at += 1;
        while self.peek(0) == Some("::") && self.peek(1).is_some_and(is_name) {
            path.push(self.peek(1).unwrap_or_default().to_owned());
            self.at += 2;
        }
        // `::<` and the like.
        self.at += usize::from(self.peek(0) == Some("::"));
        if !follows && self.rooted(&mut path, module) {
            paths.push(path);
        }
    }

    /// Makes `super` and `self` a path from `crate`; whether it leaves the modules within the file.
    fn rooted(&self, path: &mut Vec<String>, module: &[String]) -> bool {
        if path.first().is_some_and(|first| first == "self") {
            path.remove(0);
            return self.inline.is_empty();
        }
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups == 0 {
            return true;
        }
        let Some(ups_of_file) = ups.checked_sub(self.inline.len()).filter(|ups| *ups > 0) else {
            return false;
        };
        let Some(kept) = module.len().checked_sub(ups_of_file) else { return false };
        let root = std::iter::once("crate".to_owned()).chain(module.iter().take(kept).cloned());
        path.splice(0..ups, root);
        true
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// The words and signs of a file, without comments, strings, letters in quotes and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = letters.get(at).copied() {
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        if letter == '/' && next == '/' {
            at = end(&letters, at, |letter| letter != '\n');
        } else if letter == '"' {
            at = string(&letters, at + 1);
        } else if letter == 'r' && (next == '"' || next == '#') {
            at = raw_string(&letters, at);
        } else if letter == '\'' {
            at = quoted(&letters, at);
        } else if letter.is_alphanumeric() || letter == '_' {
            let after = end(&letters, at, |letter| letter.is_alphanumeric() || letter == '_');
            found.push(letters.get(at..after).unwrap_or_default().iter().collect());
            at = after;
        } else if letter == ':' && next == ':' {
            found.push("::".to_owned());
            at += 2;
        } else {
            if !letter.is_whitespace() {
                found.push(letter.to_string());
            }
            at += 1;
        }
    }
    found
}

fn end(letters: &[char], from: usize, goes_on: impl Fn(char) -> bool) -> usize {
    letters
        .iter()
        .skip(from)
        .position(|letter| !goes_on(*letter))
        .map_or(letters.len(), |length| from + length)
}

fn string(letters: &[char], mut at: usize) -> usize {
    while let Some(letter) = letters.get(at) {
        match letter {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// `r"…"`, `r#"…"#`; a raw name (`r#type`) is passed as one.
fn raw_string(letters: &[char], at: usize) -> usize {
    let quote = end(letters, at + 1, |letter| letter == '#');
    if letters.get(quote) != Some(&'"') {
        return quote;
    }
    let hashes = quote - at - 1;
    let mut at = quote + 1;
    while at < letters.len() {
        let closes = letters.get(at) == Some(&'"')
            && letters.iter().skip(at + 1).take(hashes).filter(|letter| **letter == '#').count() == hashes;
        at += 1;
        if closes {
            return at + hashes;
        }
    }
    at
}

/// A letter in quotes, or a lifetime.
fn quoted(letters: &[char], at: usize) -> usize {
    match (letters.get(at + 1), letters.get(at + 2)) {
        (Some('\\'), _) => end(letters, at + 3, |letter| letter != '\'') + 1,
        (_, Some('\'')) => at + 3,
        _ => end(letters, at + 1, |letter| letter.is_alphanumeric() || letter == '_'),
    }
}

#[test]
fn imports_are_read_from_text() {
    let text = "mod a;\npub use self::a::{B, c as D};\nuse super::{e::{F, g}, H};\n// use crate::no;\n\
                const S: &str = \"crate::no\";\nfn f(x: &'static str) { a::b(); crate::y::z::<u8>(); std::x(); }\n\
                mod inner { use super::W; use super::super::v; }\n\
                #[cfg(test)]\nmod tests { use crate::no; }\n#[cfg(test)]\nuse crate::no;\n";
    let module = ["m".to_owned(), "n".to_owned()];
    let imports = read(text, &module);
    let joined = |path: &Vec<String>| path.join("::");
    let used: Vec<String> = imports.used.iter().map(joined).collect();
    assert_eq!(used, ["m::e::F", "m::e::g", "m::H", "m::n::a::b", "y::z", "m::v"]);
    let passed: Vec<String> =
        imports.passed_on.iter().map(|(name, path)| format!("{name} {}", path.join("::"))).collect();
    assert_eq!(passed, ["B m::n::a::B", "D m::n::a::c"]);
}
