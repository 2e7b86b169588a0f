//! The graph of a crate's files: who imports whom.

use std::collections::{BTreeMap, BTreeSet};

use downbeat_tests::Source;

use crate::imports::{self, Imports};

/// The files of a crate and their arrows. A file is named by its path below `src`, without `.rs`.
#[derive(Debug)]
pub(crate) struct Graph {
    arrows: BTreeMap<String, BTreeSet<String>>,
}

/// A module: its file's name, and what that says.
struct Module {
    file: String,
    imports: Imports,
}

impl Graph {
    /// Reads the files of the crate in `folder`.
    pub(crate) fn read(sources: &[Source], folder: &str) -> Self {
        let prefix = format!("{folder}/src/");
        let named = |source: &Source| {
            let file = source.path.strip_prefix(&prefix)?.strip_suffix(".rs")?;
            let is_test = file.split('/').any(|part| part == "tests" || part.ends_with("_tests"));
            (!is_test).then(|| (file.to_owned(), source.text.clone()))
        };
        let modules: BTreeMap<Vec<String>, Module> = sources
            .iter()
            .filter_map(named)
            .map(|(file, text)| {
                let path = module_path(&file);
                let imports = imports::read(&text, &path);
                (path, Module { file, imports })
            })
            .collect();
        let arrows = modules.values().map(|module| {
            let targets = module.imports.used.iter().filter_map(|path| target(&modules, path, 0));
            (module.file.clone(), targets.filter(|file| *file != module.file).collect())
        });
        Self { arrows: arrows.collect() }
    }

    pub(crate) fn files(&self) -> usize {
        self.arrows.len()
    }

    pub(crate) fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arrows.iter().flat_map(|(from, to)| to.iter().map(|to| (from.as_str(), to.as_str())))
    }

    /// The circles: sets of more than one file, each of which can be reached from each other one.
    pub(crate) fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            self.arrows.keys().map(|file| (file.as_str(), self.reached_from(file))).collect();
        let mut circles: Vec<BTreeSet<&str>> = Vec::new();
        for (file, there) in &reached {
            let back = |other: &&&str| reached.get(**other).is_some_and(|there| there.contains(file));
            let circle: BTreeSet<&str> = there.iter().filter(back).copied().collect();
            if circle.len() > 1 && !circles.contains(&circle) {
                circles.push(circle);
            }
        }
        circles
    }

    fn reached_from<'a>(&'a self, file: &'a str) -> BTreeSet<&'a str> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![file]);
        while let Some(file) = open.pop() {
            for next in self.arrows.get(file).into_iter().flatten() {
                if reached.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        reached
    }
}

/// `machine/mod` is the module `machine`, and so is `machine`; `lib` is the root.
fn module_path(file: &str) -> Vec<String> {
    let mut path: Vec<String> = file.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || matches!(file, "lib" | "main") {
        path.pop();
    }
    path
}

/// The file that a path leads to, through names that are passed on; `None`: it is none of these.
fn target(modules: &BTreeMap<Vec<String>, Module>, path: &[String], depth: u8) -> Option<String> {
    let (length, module) =
        (0..=path.len()).rev().find_map(|length| Some((length, modules.get(path.get(..length)?)?)))?;
    let passed_on = path.get(length).and_then(|name| {
        module.imports.passed_on.iter().find(|(passed, _)| passed == name).map(|(_, path)| path)
    });
    match passed_on {
        // Nobody passes a name on through more modules than that.
        Some(next) if depth < 8 => {
            let rest = path.get(length + 1..).unwrap_or_default();
            target(modules, &[next.as_slice(), rest].concat(), depth + 1)
        }
        _ => Some(module.file.clone()),
    }
}
