//! Each view of one record, kept as a snapshot. The record is a file, so that a view changes only with its code.

use std::path::Path;

use downbeat_sim::explain::{Whose, explain};
use downbeat_sim::record::{Record, read};
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/outage.jsonl");
    assert_eq!(view(View::Record), std::fs::read_to_string(path).unwrap());
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
fn a_task_and_a_slot_have_their_stories() {
    let record = outage();
    let tell =
        |whose| explain(&record, &whose).map_or_else(|error| error.to_string(), |story| story.to_string());
    let stories = [
        tell(Whose::Task("9108a3d7".to_owned())),
        tell(Whose::Task("#4".to_owned())),
        tell(Whose::Slot(0, 1)),
        tell(Whose::Task("nothing".to_owned())),
        tell(Whose::Slot(7, 0)),
    ];
    insta::assert_snapshot!(stories.join("\n"));
}

#[test]
fn the_stepper_goes_forwards_backwards_and_to_breaks() {
    let commands = "help\nbreak failed worker=1\nbreaks\nrun\nshow 1\nstep 2\nback 2\ndiff\nwhy 1\n\
                    to 12.5\nshow\nwhy 0\ndiff\nclear\nbreak violation\nrun\nbreak nonsense\nbogus\nrun\nback\nquit\n";
    let record = outage();
    let mut out = Vec::new();
    Stepper::new(&record).talk(&mut commands.as_bytes(), &mut out, true).unwrap();
    insta::assert_snapshot!(String::from_utf8_lossy(&out));
}
