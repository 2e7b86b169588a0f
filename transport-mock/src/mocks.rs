//! Core's traits as mocks: for expectations that a script cannot say.

use downbeat_core::machine::{Clock, EntryId, Instant};
use downbeat_core::ports::{
    Assignment, Executor, Failure, Head, Progress, Request, Sink, TooLarge, Transport, Unfit,
};
use mockall::mock;

mock! {
    /// A mock of [`Transport`].
    #[derive(Debug)]
    pub Transport {}

    impl Transport for Transport {
        fn exchange<'r, 'b, 's>(
            &mut self,
            request: &'r Request<'b>,
            deadline: Instant,
            sink: &'s mut dyn Sink,
        ) -> Result<Head, Failure>;
    }
}

mock! {
    /// A mock of [`Sink`], for the tests of a transport.
    #[derive(Debug)]
    pub Sink {}

    impl Sink for Sink {
        fn head(&mut self, head: &Head);
        fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge>;
    }
}

mock! {
    /// A mock of [`Executor`].
    #[derive(Debug)]
    pub Executor {}

    impl Executor for Executor {
        fn start<'t, 'b>(&mut self, entry: EntryId, task: &'t Assignment<'b>) -> Result<(), Unfit>;
        fn step(&mut self, entry: EntryId, output: &mut [u8]) -> Progress;
        fn cancel(&mut self, entry: EntryId);
    }
}

mock! {
    /// A mock of [`Clock`].
    #[derive(Debug)]
    pub Clock {}

    impl Clock for Clock {
        fn now(&self) -> Instant;
    }
}
