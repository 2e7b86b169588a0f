//! The answers in `tests/golden`, and what an element says of itself.

use downbeat_core::wire::{Element, SyntaxError, TaskView, tasks};

/// Every golden answer, by name.
pub(crate) const ALL: [(&str, &[u8]); 13] = [
    ("task", include_bytes!("../golden/task.json")),
    ("batch", include_bytes!("../golden/batch.json")),
    ("yielded", include_bytes!("../golden/yielded.json")),
    ("external", include_bytes!("../golden/external.json")),
    ("unicode", include_bytes!("../golden/unicode.json")),
    ("escaped", include_bytes!("../golden/escaped.json")),
    ("numbers", include_bytes!("../golden/numbers.json")),
    ("deep", include_bytes!("../golden/deep.json")),
    ("too-deep", include_bytes!("../golden/too-deep.json")),
    ("bad-batch", include_bytes!("../golden/bad-batch.json")),
    ("sparse", include_bytes!("../golden/sparse.json")),
    ("poll-timeout", include_bytes!("../golden/poll-timeout.json")),
    ("secrets", include_bytes!("../golden/secrets.json")),
];

/// The golden answer of this name.
pub(crate) fn body(name: &str) -> &'static [u8] {
    ALL.iter().find(|(known, _)| *known == name).expect("a golden file of this name").1
}

/// The one task in a golden answer.
pub(crate) fn only(name: &str) -> TaskView<'static> {
    let mut all = tasks(body(name));
    let Some(Ok(Element::Task(task))) = all.next() else { panic!("{name} holds a task") };
    assert!(all.next().is_none(), "{name} holds one task");
    task
}

/// All that an element says, as text, so that elements of different lifetimes can be compared.
pub(crate) fn told(element: &Element<'_>) -> String {
    let Element::Task(task) = element else { return format!("{element:?}") };
    let raw = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the scanner checked it");
    format!(
        "{:?} {} {} {} {} {:?} {:?} {:?} {:?} {} {} {} {} {} {:?} {:?} {} {} {} {:?} {} {} {}",
        task.ids,
        task.task_type,
        task.def_name,
        task.reference_name,
        task.workflow_type,
        task.correlation_id,
        task.domain,
        task.retried_task_id,
        task.external_input,
        task.retry_count,
        task.poll_count,
        task.seq,
        task.iteration,
        task.priority,
        task.response_timeout,
        task.callback_after,
        task.scheduled_time,
        task.start_time,
        task.update_time,
        task.poll_timeout,
        raw(task.input),
        raw(task.output),
        raw(task.runtime_metadata),
    )
}

/// What a whole answer says: its elements, and the error that ends it.
pub(crate) fn told_all(body: &[u8]) -> (Vec<String>, Option<SyntaxError>) {
    let mut elements = Vec::new();
    for element in tasks(body) {
        match element {
            Ok(element) => elements.push(told(&element)),
            Err(error) => return (elements, Some(error)),
        }
    }
    (elements, None)
}
