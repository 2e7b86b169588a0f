//! What a failing run leaves behind: a small scenario, a page, and a report.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::now;
use crate::event::{Effect, Event, Watcher};
use crate::mutants::Machines;
use crate::record::Record;
use crate::report::{Failure, Minimal};
use crate::scenario::{Scenario, to_json};
use crate::shrink;
use crate::trial::Trial;
use crate::view::{self, View};

/// What may be done about a failure.
#[derive(clap::Args)]
pub(super) struct AfterFailure {
    /// Leave a failing scenario as it is. By default it is made small at once, in at most 2,000 runs and 20 s.
    #[arg(long)]
    no_shrink: bool,
    /// Where the small scenario and the page of a failure go.
    #[arg(long, value_name = "FOLDER", default_value = "target/sim")]
    failures: PathBuf,
}

/// A run that failed.
pub(super) struct Failed<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) machines: Machines,
    pub(super) trial: &'a Trial,
    /// What it is called.
    pub(super) run: String,
    /// The arguments that run it again.
    pub(super) rerun: String,
    /// What its files are called.
    pub(super) stem: String,
}

/// Runs that shrinking may take.
const RUNS: u32 = 2_000;
/// Time that it may take.
const TIME: Duration = Duration::from_secs(20);
/// A page of a longer run would take too much memory to make.
const PAGE_STEPS: u64 = 300_000;

impl Failed<'_> {
    /// What can be said without doing anything, or `None` if it did not fail.
    pub(super) fn told(&self) -> Option<Failure> {
        Failure::from_trial(self.trial, self.run.clone(), &self.rerun)
    }

    /// The same, with a small scenario and a page, if they can be had. `page` is one that is there already.
    pub(super) fn examined(&self, args: &AfterFailure, page: Option<&Path>) -> Option<Failure> {
        let mut failure = self.told()?;
        let small = if args.no_shrink { None } else { self.shrunk(args, &mut failure) };
        let page = page.map_or_else(|| self.page(args, small.as_ref()), |page| Ok(page.to_owned()));
        match page {
            Ok(page) => failure.timeline = Ok(page.display().to_string()),
            Err(why) => {
                failure.timeline = Err(why.unwrap_or_else(|| failure.timeline.unwrap_or_else(|it| it)))
            }
        }
        Some(failure)
    }

    /// Makes it small and writes what is left.
    fn shrunk(&self, args: &AfterFailure, failure: &mut Failure) -> Option<Scenario> {
        let bar = bar();
        let watch = now();
        let broken = |scenario: &Scenario| shrink::broken(self.machines, scenario);
        let small = shrink::shrink(self.scenario, &broken, &|runs| {
            bar.set_position(u64::from(runs));
            runs < RUNS && watch.elapsed() < TIME
        });
        bar.finish_and_clear();
        let mut small = small?.scenario;
        let rule = failure.oracle.split(' ').next().unwrap_or_default();
        small.name = format!("{rule}-{}", self.stem);
        small.why =
            format!("Breaks {}; made small from {}, commit {}.", failure.oracle, self.run, failure.commit);
        let file = args.failures.join(format!("{}.json", small.name));
        let text = to_json(&small).map_err(|error| error.to_string());
        let written = text.and_then(|text| write(&file, &|file| fs::write(file, &text)));
        failure.minimal = written.map(|()| Minimal {
            file: file.display().to_string(),
            faults: (self.scenario.faults.len() as u64, small.faults.len() as u64),
            tasks: (self.tasks(self.scenario), self.tasks(&small)),
            workers: (workers(self.scenario), workers(&small)),
        });
        Some(small)
    }

    /// Draws the run; if that is too long, the small one. The error is words, or nothing to add to the
    /// command.
    fn page(&self, args: &AfterFailure, small: Option<&Scenario>) -> Result<PathBuf, Option<String>> {
        let long = |trial: &Trial| trial.outcome.steps > PAGE_STEPS;
        let (scenario, stem) = match small {
            _ if !long(self.trial) => (self.scenario, self.stem.as_str()),
            Some(small) if !long(&self.machines.run(small, &mut [])) => (small, small.name.as_str()),
            _ => return Err(None),
        };
        let record = Record::from_run_with(self.machines, scenario);
        let page = args.failures.join(format!("{stem}.html"));
        write(&page, &|page| {
            let mut file = BufWriter::new(fs::File::create(page)?);
            view::write(&record, View::Html, &mut file)?;
            file.into_inner().map(drop).map_err(|error| error.into_error())
        })?;
        Ok(page)
    }

    /// How many tasks come until the rule is broken, retries left out.
    fn tasks(&self, scenario: &Scenario) -> u64 {
        struct Count(u64);
        impl Watcher for Count {
            fn on(&mut self, event: &Event) -> bool {
                let effect = if let Event::Server { effect, .. } = event { Some(effect) } else { None };
                self.0 += u64::from(matches!(effect, Some(Effect::Scheduled { retry_of: None, .. })));
                true
            }
        }
        let mut count = Count(0);
        let _ = self.machines.run(scenario, &mut [&mut count]);
        count.0
    }
}

fn workers(scenario: &Scenario) -> u64 {
    scenario.workers.iter().map(|group| u64::from(group.count)).sum()
}

/// Writes a file and makes its folder; the error is a message for people.
fn write(file: &Path, how: &dyn Fn(&Path) -> std::io::Result<()>) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all).and_then(|()| how(file));
    made.map_err(|error| format!("{} cannot be written: {error}", file.display()))
}

/// Shows the runs on a terminal, and nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(u64::from(RUNS));
    let style =
        ProgressStyle::with_template("making it small: {elapsed_precise} {wide_bar} {pos}/{len} runs");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
