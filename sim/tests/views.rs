//! Each view of one record, kept as a snapshot. The record is a file, so that a view changes only with its code.

use std::path::Path;

use downbeat_sim::explain::{Whose, explain};
use downbeat_sim::record::{Record, read};
use downbeat_sim::scenario;
use downbeat_sim::step::Stepper;
use downbeat_sim::view::{View, write};

fn outage() -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/outage.jsonl");
    read(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn view(view: View) -> String {
    let mut out = Vec::new();
    write(&outage(), view, &mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn text_has_a_line_for_each_event() {
    insta::assert_snapshot!(view(View::Text));
}

#[test]
fn short_has_a_line_for_each_change_and_a_column_for_each_place() {
    insta::assert_snapshot!(view(View::Short));
}

#[test]
fn counters_have_a_line_for_each_second() {
    insta::assert_snapshot!(view(View::Csv));
}

#[test]
fn the_record_is_a_view_of_itself() {
    // The file is of version 1: what has come since is added, and nothing is lost.
    let text = view(View::Record);
    let again = Record::from_lines("again".to_owned(), text.as_bytes()).unwrap();
    let mut out = Vec::new();
    write(&again, View::Record, &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), text);
    let before = outage();
    assert!(before.is_old());
    assert_eq!(again.entries.len(), before.entries.len());
}

#[test]
fn the_page_is_whole_and_names_nothing_outside_itself() {
    let page = view(View::Html);
    assert!(
        !page.contains("http:") && !page.contains("https:") && !page.contains("url(/"),
        "it opens offline"
    );
    assert!(page.len() < 1_000_000);
    insta::assert_snapshot!(page);
}

#[test]
fn the_trace_is_json_and_its_spans_nest() {
    let text = view(View::Perfetto);
    let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut open = std::collections::BTreeMap::<(u64, u64), (i64, u64)>::new();
    let mut arrows = (0, 0);
    for event in trace["traceEvents"].as_array().unwrap() {
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key} of {event}"));
        let phase = event["ph"].as_str().unwrap();
        if phase == "M" {
            continue;
        }
        let (depth, last) = open.entry((number("pid"), number("tid"))).or_default();
        match phase {
            "B" => *depth += 1,
            "E" => *depth -= 1,
            "s" => arrows.0 += 1,
            "f" => arrows.1 += 1,
            _ => {}
        }
        assert!(*depth >= 0 && number("ts") >= *last, "{event}");
        *last = number("ts");
    }
    assert!(open.values().all(|(depth, _)| *depth == 0), "{open:?}");
    assert!(arrows.0 > 2 && arrows.0 == arrows.1, "{arrows:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_task_and_an_entry_have_their_stories() {
    let record = outage();
    let tell =
        |whose| explain(&record, &whose).map_or_else(|error| error.to_string(), |story| story.to_string());
    let stories = [
        tell(Whose::Task("9108a3d7".to_owned())),
        tell(Whose::Task("#4".to_owned())),
        tell(Whose::Entry(0, 1)),
        tell(Whose::Task("nothing".to_owned())),
        tell(Whose::Entry(7, 0)),
    ];
    insta::assert_snapshot!(stories.join("\n"));
}

/// What the stepper says to each command, about a run of now: the core's rules may differ from the fixture's.
fn talk(commands: &str) -> Vec<String> {
    let scenario = scenario::parse("outage.toml", include_str!("fixtures/outage.toml"), false);
    let record = Record::from_run(&scenario.unwrap_or_else(|error| panic!("{error}")));
    let mut out = Vec::new();
    let told = Stepper::new(&record).talk(&mut commands.as_bytes(), &mut out, true);
    told.unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&out).split("\n> ").map(str::to_owned).collect()
}

#[test]
fn the_stepper_stops_at_breaks_and_shows_what_changed() {
    let said = talk("break failed worker=1\nrun\ndiff\nwhy 1\nshow 1\nrun\n");
    let [_, set, run, diff, why, show, again, _] = said.as_slice() else { panic!("{said:#?}") };
    assert!(set.contains("break 1: failed worker=1"), "{set}");
    assert!(run.contains("w1   replied") && run.contains("not sent"), "{run}");
    assert!(diff.contains("+ link failures        1") && diff.contains("- link failures        0"), "{diff}");
    assert!(why.contains("the server was not reached 1 times in a row"), "{why}");
    assert!(show.contains("1 reports failed, report due"), "{show}");
    assert!(again.contains("break 1") && again != run, "{again}");
}

#[test]
fn the_stepper_goes_back_to_where_it_was() {
    let said =
        talk("to 12.5\nshow\nstep 5\nback 5\nshow\nto 1.5\nto 12.5\nshow\nbogus\nbreak nothing\nquit\n");
    let [_, there, first, _, back, second, _, _, third, bogus, nothing, _] = said.as_slice() else {
        panic!("{said:#?}")
    };
    assert_eq!(there.split_once('\n').map(|told| told.1), back.split_once('\n').map(|told| told.1));
    assert!(first.contains("worker 0") && first.contains("worker 1"), "{first}");
    assert_eq!((second, third), (first, first));
    assert!(bogus.contains("`bogus` is no command") && nothing.contains("nothing to stop at"));
}
