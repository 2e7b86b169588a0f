//! An answer in pieces says what it says as a whole, and memory bounds what is kept, not what is sent.

use downbeat_core::wire::{
    Buffer, Element, Full, Misfit, Out, SliceBuffer, SyntaxError, SyntaxKind, TaskFilter, tasks,
};
use proptest::prelude::*;

use crate::golden::{self, told, told_all};
use crate::scan::json;

/// Memory that grows: what a driver with an allocator uses.
#[derive(Default)]
struct Heap {
    bytes: Vec<u8>,
}

impl Out for Heap {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Buffer for Heap {
    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn room(&self) -> usize {
        usize::MAX
    }
}

/// Feeds the pieces and says what came out.
fn fed<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    buffer: impl Buffer,
) -> (Vec<String>, Option<SyntaxError>) {
    let mut filter = TaskFilter::new(buffer);
    let mut elements = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        loop {
            match filter.feed(&mut rest) {
                Ok(Some(element)) => elements.push(told(&element)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(filter.finish(), Err(error), "the error stays");
                    return (elements, Some(error));
                }
            }
        }
        assert!(rest.is_empty(), "all is taken");
    }
    (elements, filter.finish().err())
}

/// Every place in a short answer, a thousand in a long one.
fn places(body: &[u8]) -> impl Iterator<Item = usize> {
    let stride = if body.len() < 3000 { 1 } else { body.len() / 1000 };
    (0..=body.len()).step_by(stride)
}

#[test]
fn every_cut_of_every_golden_answer_says_the_same() {
    for (name, body) in golden::ALL {
        let whole = told_all(body);
        for cut in places(body) {
            let (head, tail) = body.split_at(cut);
            assert_eq!(fed([head, tail], Heap::default()), whole, "{name} cut at {cut}");
        }
        assert_eq!(fed(body.chunks(1), Heap::default()), whole, "{name} byte by byte");
    }
}

#[test]
fn every_beginning_of_a_golden_answer_ends_early() {
    for (name, body) in golden::ALL {
        for len in places(body).take_while(|len| *len < body.trim_ascii_end().len()) {
            let (elements, error) = told_all(&body[..len]);
            // Nothing at all is an answer without tasks.
            let ended = Some(SyntaxKind::Ended).filter(|_| !body[..len].trim_ascii().is_empty());
            assert_eq!(error.map(|error| error.kind), ended, "{name} up to {len}");
            assert_eq!(fed([&body[..len]], Heap::default()), (elements, error), "{name} up to {len}");
        }
    }
}

#[test]
fn no_tasks_are_no_tasks_in_pieces_of_any_size() {
    for body in ["", "  \n", "null", " null\r\n", "[]"] {
        for size in 1..=body.len().max(1) {
            assert_eq!(
                fed(body.as_bytes().chunks(size), Heap::default()),
                (vec![], None),
                "{body:?} by {size}"
            );
        }
    }
    for body in ["n", " nul", "[", "{"] {
        let (elements, error) = fed(body.as_bytes().chunks(1), Heap::default());
        assert_eq!((elements.len(), error.map(|error| error.kind)), (0, Some(SyntaxKind::Ended)), "{body:?}");
    }
}

/// Bytes that are kept of the golden task.
fn kept() -> usize {
    let mut filter = TaskFilter::new(Heap::default());
    let mut rest = golden::body("task");
    assert!(matches!(filter.feed(&mut rest), Ok(Some(Element::Task(_)))));
    filter.into_buffer().bytes.len()
}

#[test]
fn only_what_is_used_is_kept() {
    let whole = golden::body("task").len();
    assert!(whole > 2200, "{whole} as sent");
    assert!(kept() < 200, "{} kept", kept());
}

#[test]
fn a_task_that_fits_exactly_is_a_task_and_with_one_byte_less_is_told_with_both_sizes() {
    let mut memory = [0; 512];
    let mut first = |room: usize| {
        let mut filter = TaskFilter::new(SliceBuffer::new(&mut memory[..room]));
        let mut rest = golden::body("batch");
        let element = filter.feed(&mut rest).unwrap().unwrap();
        match element {
            Element::Task(_) => None,
            Element::Bad { ids, misfit } => Some((ids.task.to_string(), misfit)),
            Element::Unreportable { .. } => panic!("its ids are readable"),
        }
    };
    let needed = (1..512).find(|room| first(*room).is_none()).expect("512 bytes are enough");
    let (id, misfit) = first(needed - 1).unwrap();
    assert_eq!(id, "7b49c1d2-90ab-4f3e-8a55-000000000001");
    assert_eq!(misfit, Misfit::TooLarge { needed, room: needed - 1 });
    assert!(misfit.reason().contains(&needed.to_string()), "{misfit}");
    assert!(misfit.reason().contains(&(needed - 1).to_string()), "{misfit}");
}

#[test]
fn a_large_task_costs_only_itself_wherever_its_ids_stand() {
    let small = r#"{"taskId":"s","workflowInstanceId":"w"}"#;
    let large = "x".repeat(5000);
    for task in [
        format!(r#"{{"taskId":"l","workflowInstanceId":"w","inputData":{{"a":"{large}"}}}}"#),
        format!(r#"{{"inputData":{{"a":"{large}"}},"taskId":"l","workflowInstanceId":"w"}}"#),
        format!(
            r#"{{"taskId":"l","inputData":{{"a":"{large}"}},"workflowInstanceId":"w","retryCount":"bad"}}"#
        ),
    ] {
        let body = format!("[{small},{task},{small}]");
        let (said, error) = fed(body.as_bytes().chunks(7), SliceBuffer::new(&mut [0; 64]));
        assert_eq!((said.len(), error), (3, None));
        assert!(said[1].contains("task: String(\"l\")") || said[1].contains("task: \"l\""), "{}", said[1]);
        assert!(said[1].contains("TooLarge") && said[1].contains("room: 64"), "{}", said[1]);
        assert_eq!(said[0], said[2]);
    }
}

#[test]
fn no_room_at_all_still_names_every_task() {
    let (said, error) = fed([golden::body("batch")], heapless::Vec::<u8, 0>::new());
    assert_eq!(error, None);
    assert_eq!(said.len(), 5);
    assert!(said.iter().all(|said| said.contains("TooLarge")), "{said:?}");
}

#[test]
fn a_filter_starts_over() {
    let mut filter = TaskFilter::new(Heap::default());
    let mut rest = &b"[{\"taskId\":\"half"[..];
    assert!(filter.feed(&mut rest).unwrap().is_none());
    filter.reset();
    let mut rest = golden::body("task");
    let element = filter.feed(&mut rest).unwrap().unwrap();
    assert_eq!(told(&element), told(&tasks(golden::body("task")).next().unwrap().unwrap()));
}

/// Tasks with members in any order, known and unknown, fit and unfit, in an array or single.
fn answers() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(vec![
        "taskId",
        "workflowInstanceId",
        "taskType",
        "retryCount",
        "inputData",
        "outputData",
        "domain",
        "unknown",
        "task\\u0049d",
        "taskid",
        "responseTimeoutSeconds",
        "taskDefinition",
        "workflowTask",
        "status",
        "x\\ud83c",
        "",
    ]);
    let value = prop_oneof![
        3 => Just("\"id\"".to_owned()),
        2 => Just("{\"a\":[1,{}]}".to_owned()),
        2 => Just("5".to_owned()),
        2 => proptest::sample::select(vec![
            r#"{"pollTimeoutSeconds":61}"#,
            r#"{"taskDefinition":{"a":"b","pollTimeoutSeconds" : 62 }}"#,
        ])
        .prop_map(str::to_owned),
        1 => Just("null".to_owned()),
        3 => json(),
    ];
    let ids = r#""taskId":"t","workflowInstanceId":"w""#;
    let task = proptest::collection::vec((name, value), 0..8).prop_map(move |members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
        format!("{{{}}}", [vec![ids.to_owned()], members].concat().join(" ,"))
    });
    let batch = proptest::collection::vec(prop_oneof![4 => task.clone(), 1 => json()], 0..5)
        .prop_map(|elements| format!(" [{}]", elements.join(", ")));
    prop_oneof![4 => batch, 1 => task, 1 => json()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_say_what_the_whole_says(
        answer in answers(),
        damage in proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>())),
        piece in 1..40_usize,
    ) {
        let mut body = answer.into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        prop_assert_eq!(fed(body.chunks(piece), Heap::default()), told_all(&body));
    }

    #[test]
    fn little_memory_changes_nothing_but_what_it_must(answer in answers(), room in 0..200_usize) {
        let (whole, error) = told_all(answer.as_bytes());
        let (said, same) = fed([answer.as_bytes()], SliceBuffer::new(&mut vec![0; room]));
        prop_assert_eq!(error, same);
        prop_assert_eq!(whole.len(), said.len());
        for (whole, said) in whole.iter().zip(&said) {
            prop_assert!(whole == said || said.contains("TooLarge"), "{} or {}", whole, said);
        }
    }

    #[test]
    fn the_ids_are_those_that_serde_json_finds(answer in answers()) {
        let Ok(serde_json::Value::Array(elements)) = serde_json::from_str(&answer) else { return Ok(()) };
        let found: Vec<_> = tasks(answer.as_bytes()).map(Result::unwrap).collect();
        prop_assert_eq!(found.len(), elements.len());
        for (found, value) in found.iter().zip(&elements) {
            let id = |name: &str| value.get(name).and_then(|id| id.as_str()).filter(|id| (1..=64).contains(&id.len()));
            let ids = id("taskId").zip(id("workflowInstanceId"));
            match found {
                Element::Task(task) => {
                    prop_assert_eq!(ids, Some((task.ids.task.as_str(), task.ids.workflow.as_str())));
                    let input: serde_json::Value = serde_json::from_slice(task.input).unwrap();
                    let sent = value.get("inputData").filter(|sent| !sent.is_null());
                    prop_assert_eq!(input, sent.cloned().unwrap_or_else(|| serde_json::json!({})));
                }
                Element::Bad { ids: read, .. } => {
                    prop_assert_eq!(ids, Some((read.task.as_str(), read.workflow.as_str())));
                }
                Element::Unreportable { .. } => prop_assert_eq!(ids, None),
            }
        }
    }
}
