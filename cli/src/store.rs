//! `store`: what waits in a store, what died there, and what to do about it.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downbeat::store::{self, Changed, Letter, Listing, Outcome, Part, Selected};
use downbeat::{Error, RawValue};
use serde::Serialize;

use crate::config::value;
use crate::{clock, config, output};

const HELP: &str = "\
A store keeps results until the server has taken them:
  waiting  the runner sends them, or has them still in hand
  dead     the server does not take them; each has the reason
  damaged  what is no result, or has changed on the disk

While a runner works with the store, you can use all of these commands except `drop` of what waits.

Examples:
  downbeat store list --store /var/lib/downbeat
  downbeat store show 1733000000000-17-0 --store /var/lib/downbeat --body
  downbeat store retry --all-dead --config downbeat.toml
  downbeat store export --store /var/lib/downbeat --to results.jsonl
  downbeat store drop 1733000000000-17-0 --store /var/lib/downbeat

Exit codes:
  0  done
  1  there is no such letter, it is no result, or it is a dead letter again (`retry`);
     a runner works with the store, or the store cannot be read or written
  2  the command line or the configuration cannot be used";

const RETRY: &str = "\
The runner that works with the store sends them within a minute. If there is none, the next runner sends them. It asks
the server first. If the task has ended, the letter is a dead one again, because the server would change nothing.

Example:
  downbeat store retry --all-dead --store /var/lib/downbeat

Exit codes:
  0  the server has taken all of them, or they are put back and wait
  1  one is a dead letter again (the server refused it, or its task had ended already), or there is no such letter
  2  the command line or the configuration cannot be used";

/// How often downbeat looks what became of a letter.
const LOOK: Duration = Duration::from_millis(100);

/// Options of `store`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List what waits, the dead letters, and what is damaged.
    #[command(after_help = "Example:\n  downbeat store list --store /var/lib/downbeat --json")]
    List {
        #[command(flatten)]
        place: Place,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one of them: ids, status, size, and why and when it became a dead letter.
    #[command(after_help = "Example:\n  downbeat store show TASK-ID --store /var/lib/downbeat --body")]
    Show {
        /// Its id, or that of its task.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        place: Place,
        /// Write JSON.
        #[arg(long)]
        json: bool,
        /// Show the result itself too: it may be confidential.
        #[arg(long)]
        body: bool,
    },
    /// Put dead letters back among the results that wait, and say what the server says to them.
    #[command(after_help = RETRY)]
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Place,
        /// The longest to wait for the server's word, if a runner works with the store.
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = value::duration)]
        wait: Duration,
    },
    /// Write results as JSON lines, with all that is known of each: those named, or all that wait or are dead.
    #[command(after_help = "Example:\n  downbeat store export --store /var/lib/downbeat --to results.jsonl")]
    Export {
        /// Their ids, or those of their tasks [default: all].
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        place: Place,
        /// A new file, only for this user (mode 0600) [default: standard output].
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Delete letters for good, and no other file; those that wait only while no runner works with the store.
    #[command(after_help = "Example:\n  downbeat store drop TASK-ID --store /var/lib/downbeat")]
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the store is.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Place {
    /// The store's directory.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// The configuration file that names it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which letters are meant.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct Which {
    /// Their ids, or those of their tasks.
    #[arg(value_name = "ID", conflicts_with = "all_dead")]
    ids: Vec<String>,

    /// All dead letters.
    #[arg(long)]
    all_dead: bool,
}

impl Which {
    fn selected(&self) -> Selected<'_> {
        if self.all_dead { Selected::AllDead } else { Selected::Ids(&self.ids) }
    }
}

/// Does what the command line says.
pub(crate) fn run(args: &Args) -> u8 {
    let (Command::List { place, .. }
    | Command::Show { place, .. }
    | Command::Retry { place, .. }
    | Command::Export { place, .. }
    | Command::Drop { place, .. }) = &args.command;
    let directory = match place.directory() {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let done = match &args.command {
        Command::List { json, .. } => store::list(&directory).map(|listing| list(&listing, *json)),
        Command::Show { id, json, body, .. } => {
            store::list(&directory).map(|listing| show(&listing, id, *json, *body))
        }
        Command::Retry { which, wait, .. } => retry(&directory, which, *wait),
        Command::Export { ids, to, .. } => {
            store::list(&directory).map(|listing| export(&listing, ids, to.as_deref()))
        }
        Command::Drop { which, .. } => {
            store::drop_letters(&directory, which.selected()).map(|changed| told(&changed, "is deleted"))
        }
    };
    done.unwrap_or_else(|error| {
        output::error(&error);
        output::FAILED
    })
}

impl Place {
    fn directory(&self) -> Result<PathBuf, u8> {
        if let Some(directory) = &self.store {
            return Ok(directory.clone());
        }
        let file = self.config.clone().unwrap_or_default();
        match config::store(&file) {
            Ok(Some(directory)) => Ok(directory),
            Ok(None) => {
                let text = format!(
                    "{} names no store: give `--store DIR`, or set `store` in `[runner]`",
                    file.display()
                );
                output::error(&text);
                Err(output::USAGE)
            }
            Err(problems) => Err(output::problems(&problems)),
        }
    }
}

/// A letter as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    part: &'static str,
    task_id: Option<&'a str>,
    workflow_instance_id: Option<&'a str>,
    status: Option<&'a str>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

/// A store as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    server: Option<&'a str>,
    in_hand: usize,
    letters: Vec<Line<'a>>,
}

impl<'a> Line<'a> {
    fn from_letter(letter: &'a Letter) -> Self {
        Self {
            id: &letter.id,
            part: letter.part.name(),
            task_id: letter.task_id.as_deref(),
            workflow_instance_id: letter.workflow_id.as_deref(),
            status: letter.status.as_deref(),
            bytes: letter.bytes,
            why: letter.why.as_deref(),
            at: letter.at_ms,
            result: None,
        }
    }

    /// With the result itself.
    fn whole(letter: &'a Letter) -> io::Result<Self> {
        let text = String::from_utf8(letter.body()?).map_err(io::Error::other)?;
        Ok(Self { result: Some(RawValue::from_string(text)?), ..Self::from_letter(letter) })
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn list(listing: &Listing, json: bool) -> u8 {
    let server = listing.server.as_deref();
    let letters = &listing.letters;
    if json {
        let whole = Whole {
            server,
            in_hand: listing.in_hand,
            letters: letters.iter().map(Line::from_letter).collect(),
        };
        output::out(&format!("{}\n", serde_json::to_string(&whole).unwrap_or_default()));
        return output::DONE;
    }
    let count = |part: Part| letters.iter().filter(|letter| letter.part == part).count();
    let [waiting, dead, damaged] = [Part::Waiting, Part::Dead, Part::Damaged].map(count);
    let mut text = format!(
        "of {}: {waiting} waiting, {dead} dead, {damaged} damaged",
        server.unwrap_or("no server yet")
    );
    text.push_str(&format!("; {} tasks in hand\n", listing.in_hand));
    let wide = letters.iter().map(|letter| letter.id.len()).max().unwrap_or(0);
    for letter in letters {
        let status = letter.status.as_deref().unwrap_or("-");
        let task = letter.task_id.as_deref().filter(|task| *task != letter.id).unwrap_or("");
        let line =
            format!("{:wide$}  {:7}  {status:26} {:>9}  {task}", letter.id, letter.part.name(), letter.bytes);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    output::out(&text);
    output::DONE
}

fn show(listing: &Listing, id: &str, json: bool, with_body: bool) -> u8 {
    let Some(letter) = listing.find(id) else { return unknown(id) };
    if json {
        let line = if with_body { Line::whole(letter) } else { Ok(Line::from_letter(letter)) };
        return match line {
            Ok(line) => {
                output::out(&format!("{}\n", line.text()));
                output::DONE
            }
            Err(error) => failed(&letter.id, &error),
        };
    }
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![
        ("id", letter.id.clone()),
        ("part", letter.part.name().to_owned()),
        ("task", or_none(&letter.task_id)),
        ("workflow", or_none(&letter.workflow_id)),
        ("status", or_none(&letter.status)),
        ("bytes", letter.bytes.to_string()),
    ];
    rows.extend(letter.why.clone().map(|why| ("why", why)));
    rows.extend(letter.at_ms.map(|at| ("since", format!("{at} (milliseconds since 1970)"))));
    output::out(&rows.iter().map(|(name, value)| format!("{name:9} {value}\n")).collect::<String>());
    if !with_body {
        return output::DONE;
    }
    match letter.body() {
        Ok(body) => {
            let mut stdout = io::stdout().lock();
            drop(stdout.write_all(&body).and_then(|()| stdout.write_all(b"\n")));
            output::DONE
        }
        Err(error) => failed(&letter.id, &error),
    }
}

fn export(listing: &Listing, ids: &[String], to: Option<&Path>) -> u8 {
    let named = |letter: &&Letter| {
        let is = |id: &String| *id == letter.id || Some(id) == letter.task_id.as_ref();
        letter.part != Part::Damaged && (ids.is_empty() || ids.iter().any(is))
    };
    let letters: Vec<&Letter> = listing.letters.iter().filter(named).collect();
    let missing = ids.iter().filter(|id| listing.find(id).is_none_or(|letter| letter.part == Part::Damaged));
    let mut code = missing.map(|id| unknown(id)).max().unwrap_or(output::DONE);
    let out: Box<dyn Write> = match to {
        None => Box::new(io::stdout().lock()),
        Some(path) => match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Box::new(file),
            Err(error) => return failed(&path.display(), &error),
        },
    };
    let mut out = BufWriter::new(out);
    for letter in letters {
        match Line::whole(letter) {
            Ok(line) => {
                if let Err(error) = writeln!(out, "{}", line.text()) {
                    return failed(&"the export", &error);
                }
            }
            // A runner has sent it meanwhile, it may be.
            Err(error) => code = failed(&letter.id, &error),
        }
    }
    match out.flush() {
        Ok(()) => code,
        Err(error) => failed(&"the export", &error),
    }
}

/// Puts letters back, and waits for what becomes of them.
fn retry(directory: &Path, which: &Which, wait: Duration) -> Result<u8, Error> {
    let mut changed = store::retry(directory, which.selected())?;
    let mut waiting = std::mem::take(&mut changed.done);
    let mut code = told(&changed, "");
    let until = clock::now() + wait;
    loop {
        let is_in_use = store::is_in_use(directory)?;
        let mut rest = Vec::new();
        for id in waiting {
            match store::outcome(directory, &id)? {
                Outcome::Waits => rest.push(id),
                Outcome::Taken => output::out(&format!("{id}: the server has taken it\n")),
                Outcome::DeadAgain(why) => {
                    output::error(&format!("{id}: {why}; it is a dead letter again"));
                    code = output::FAILED;
                }
            }
        }
        waiting = rest;
        if waiting.is_empty() || !is_in_use || clock::left(until).is_zero() {
            let who = if is_in_use { "the runner sends it soon" } else { "the next runner sends it" };
            output::out(&waiting.iter().map(|id| format!("{id} is put back; {who}\n")).collect::<String>());
            return Ok(code);
        }
        clock::pause(LOOK);
    }
}

fn told(changed: &Changed, what: &str) -> u8 {
    output::out(&changed.done.iter().map(|id| format!("{id} {what}\n")).collect::<String>());
    let left = changed.left.iter().map(|id| {
        output::error(&format!(
            "{id}: it is no result, and stays; delete the file yourself if nobody needs it"
        ));
        output::FAILED
    });
    left.chain(changed.unknown.iter().map(|id| unknown(id))).max().unwrap_or(output::DONE)
}

fn unknown(id: &str) -> u8 {
    output::error(&format!(
        "{id}: there is no such letter; `downbeat store list` shows those that there are"
    ));
    output::FAILED
}

fn failed(what: &dyn std::fmt::Display, error: &io::Error) -> u8 {
    output::error(&format!("{what}: {error}"));
    output::FAILED
}
