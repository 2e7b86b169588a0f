//! What can be said to the stepper.

use downbeat_core::machine::Instant;

use super::condition::Condition;
use crate::scenario::Span;

pub(super) const HELP: &str = "\
step [N]        the next line, or the next N; so does an empty line        (s)
back [N]        one line back, or N                                        (b)
run             on to a break, or to the end                               (r)
to TIME         to a time, forwards or backwards: to 16.059, to 90s
break WORDS     stop where all words hold: poll update run extend spill discard wait stopped
                tick leased replied finished control failed fault crash lapsed violation
                worker=2 task=3b7b1f t>=16.059
breaks, clear   list the breaks, or forget them
show [WORKER]   the state of all workers, or of one, to the last gate
diff            what the latest line changed
why [WORKER]    what a worker waits for, and what stands in its way
quit            the end                                                    (q)
";

pub(super) enum Command {
    Help,
    Step(usize),
    Back(usize),
    Run,
    To(Instant),
    Break(Condition),
    Breaks,
    Clear,
    Show(Option<u32>),
    Diff,
    Why(Option<u32>),
    Quit,
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
        match word {
            "help" | "h" | "?" => Ok(Self::Help),
            "" => Ok(Self::Step(1)),
            "step" | "s" => count().map(Self::Step),
            "back" | "b" => count().map(Self::Back),
            "run" | "r" => Ok(Self::Run),
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

/// A time: seconds, or a number with a unit.
pub(super) fn time(text: &str) -> Result<Instant, String> {
    let with_unit =
        if text.ends_with(|c: char| c.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    let span: Span = with_unit.parse()?;
    Ok(Instant::ZERO.after(span.get()))
}
