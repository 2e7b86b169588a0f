//! Conductor's JSON.

use downbeat_core::wire::{
    Element, Output, ServerError, SliceBuffer, SyntaxError, TaskFilter, members, read_token, tasks, validate,
};

/// A batch says the same as a whole and in pieces, with much room and with little; nothing in it panics.
pub fn wire_tasks(data: &[u8]) {
    let (cut, bytes) = super::pieces(data);
    let whole = collect(tasks(bytes).map(|element| element.map(|element| told(&element))));
    let mut memory = vec![0; bytes.len()];
    assert_eq!(filtered(cut, &mut memory), whole);

    let mut little = [0; 48];
    let small = filtered([bytes].into_iter(), &mut little);
    assert_eq!((small.0.len(), small.1), (whole.0.len(), whole.1));

    let sound = validate(bytes).is_ok();
    assert!(
        !sound || members(bytes).all(|member| member.is_ok()) || bytes.trim_ascii().first() != Some(&b'{')
    );
    assert!(sound || Output::new(bytes).is_err());
    let _ = (ServerError::read(bytes), read_token(bytes).map(|token| token.chars().count()));
}

type Told = (Vec<String>, Option<SyntaxError>);

fn collect(elements: impl Iterator<Item = Result<String, SyntaxError>>) -> Told {
    let (mut all, mut end) = (Vec::new(), None);
    for element in elements {
        match element {
            Ok(element) => all.push(element),
            Err(error) => end = Some(error),
        }
    }
    (all, end)
}

fn filtered<'p>(pieces: impl Iterator<Item = &'p [u8]>, memory: &mut [u8]) -> Told {
    let mut filter = TaskFilter::new(SliceBuffer::new(memory));
    let mut all = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        loop {
            match filter.feed(&mut rest) {
                Ok(Some(element)) => all.push(told(&element)),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, filter.finish().err())
}

fn told(element: &Element<'_>) -> String {
    let Element::Task(task) = element else { return format!("{element:?}") };
    let texts = [task.task_type, task.def_name, task.reference_name, task.workflow_type];
    format!("{task:?} {texts:?} {:?} {:?}", task.input, task.output)
}
