//! What can be said to the stepper.

use downbeat_core::machine::Instant;

use super::condition::Condition;
use super::time::time;

pub(super) const HELP: &str = "\
step [N]        the next line, or the next N; so does an empty line        (s)
back [N]        one line back, or N                                        (b)
run             on to a break, or to the end                               (r)
run LINE        the same, but not beyond this line (the numbers at the left): run 500
run TIME        the same, but not beyond this time (a number with a unit): run 16.059s
to TIME         to a time, forwards or backwards, past breaks: to 16.059, to 90s
break WORDS     stop where all words hold. What a worker answered: poll update run give_back
                ignore recall refresh extend spill discard wait stopped; what it was told:
                tick leased replied finished token control, failed (a call that failed);
                what else happened: fault crash lapsed violation; of which worker, which
                task, from when on: worker=2 task=3b7b1f t>=16.059
breaks, clear   list the breaks, or forget them
show [WORKER]   the state of all workers, or of one, to the last gate      (show 2)
diff            what the latest line changed                               (d)
why [WORKER]    what a worker waits for, and what stands in its way        (w)
help            this list                                                  (h, ?)
quit            the end                                                    (q, exit)
";

pub(super) enum Command {
    Help,
    Step(usize),
    Back(usize),
    Run(Option<Until>),
    To(Instant),
    Break(Condition),
    Breaks,
    Clear,
    Show(Option<u32>),
    Diff,
    Why(Option<u32>),
    Quit,
}

/// How far to run at the most.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// To the line of this number.
    Line(usize),
    /// To the last line that is not after this time.
    Time(Instant),
}

impl Command {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let count = || match rest {
            "" => Ok(1),
            _ => rest.parse().map_err(|_| format!("`{rest}` is not a count")),
        };
        let worker = || match rest {
            "" => Ok(None),
            _ => {
                let number = rest.trim_start_matches(['w', 'W']);
                number.parse().map(Some).map_err(|_| format!("`{rest}` is not a worker's number"))
            }
        };
        let takes_words =
            matches!(word, "step" | "s" | "back" | "b" | "run" | "r" | "to" | "break" | "show" | "why" | "w");
        if !takes_words && !rest.is_empty() && Self::parse(word).is_ok() {
            return Err(format!("`{word}` takes nothing more, but there is `{rest}`"));
        }
        match word {
            "help" | "h" | "?" => Ok(Self::Help),
            "" => Ok(Self::Step(1)),
            "step" | "s" => count().map(Self::Step),
            "back" | "b" => count().map(Self::Back),
            "run" | "r" if rest.is_empty() => Ok(Self::Run(None)),
            "run" | "r" => until(rest).map(|until| Self::Run(Some(until))),
            "to" => time(rest).map(Self::To),
            "break" => Condition::parse(rest).map(Self::Break),
            "breaks" => Ok(Self::Breaks),
            "clear" => Ok(Self::Clear),
            "show" => worker().map(Self::Show),
            "diff" | "d" => Ok(Self::Diff),
            "why" | "w" => worker().map(Self::Why),
            "quit" | "q" | "exit" => Ok(Self::Quit),
            _ => Err(format!("`{word}` is no command; `help` lists them")),
        }
    }
}

/// A line's number, or a time with a unit.
fn until(text: &str) -> Result<Until, String> {
    if let Ok(line) = text.parse() {
        return Ok(Until::Line(line));
    }
    let wrong = |_| format!("`{text}` is neither a line's number, such as 500, nor a time, such as 16.059s");
    time(text).map(Until::Time).map_err(wrong)
}
