//! The fuzzer's bytes as a source of decisions.

/// Takes decisions off the front of the fuzzer's bytes; zeros where they are used up.
pub(crate) struct Source<'d> {
    pub(crate) data: &'d [u8],
}

impl<'d> Source<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self { data }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    pub(crate) fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}
