//! Standard error, cut into the lines that the server keeps.

use std::collections::VecDeque;

/// The server keeps ten entries of one result (R-LOG-3): the first lines, one that counts what is left out, the last.
const FIRST: usize = 5;
const LAST: usize = 4;
/// The longest line that is kept, in bytes.
const LINE_MAX: usize = 2_000;

/// Lines as they come; memory is bounded whatever comes.
#[derive(Default)]
pub(super) struct Lines {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: u64,
    line: Vec<u8>,
    /// How long the current line is in all.
    length: usize,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            self.length = self.length.saturating_add(text.len());
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let cut = self.length - line.len();
        self.length = 0;
        let mut text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if cut > 0 {
            text.push_str(&format!(" … ({cut} bytes more)"));
        }
        if text.is_empty() {
            return;
        }
        if self.first.len() < FIRST {
            self.first.push(text);
            return;
        }
        self.last.push_back(text);
        if self.last.len() > LAST + 1 {
            self.last.pop_front();
            self.left_out += 1;
        }
    }

    /// At most ten entries, in order.
    pub(super) fn into_log(mut self) -> Vec<String> {
        if self.length > 0 {
            self.end_line();
        }
        let mut log = self.first;
        if self.left_out > 0 {
            self.last.pop_front();
            log.push(format!("… ({} lines left out)", self.left_out + 1));
        }
        log.extend(self.last);
        log
    }
}
