//! Polls: at once, or parked until tasks or the end of the wait come (R-POLL-1 to R-POLL-4).

use std::collections::VecDeque;
use std::time::Duration;

use downbeat_core::machine::Instant;

use super::Effect;
use super::alarm::Alarm;
use super::{Backend, Handed, Parked, Refusal, Server, Ticket};

/// The longest wait; more is a 400 (R-POLL-2).
const WAIT_MAX: Duration = Duration::from_secs(5);

impl Server {
    /// Polls a queue for a batch. `Ok(None)` means that the poll is parked, and ends in [`Server::advance`].
    ///
    /// # Errors
    /// The token is missing or not good.
    pub fn poll(
        &mut self,
        now: Instant,
        ticket: Ticket,
        token: Option<u64>,
        queue: u32,
        count: u16,
        wait: Duration,
    ) -> Result<Option<Vec<Handed>>, Refusal> {
        self.authorise(now, ticket.worker, token)?;
        let ready = self.queues.get(&queue).map_or(0, VecDeque::len);
        let enough = match self.setup.backend {
            Backend::Redis => ready > 0,
            Backend::Sql => ready >= usize::from(count),
            Backend::None => true,
        };
        if enough || wait.is_zero() {
            return Ok(Some(self.hand_out(now, ticket, queue, count)));
        }
        let until = now.saturating_add(wait.min(WAIT_MAX));
        self.polls += 1;
        self.parked.entry(queue).or_default().insert(self.polls, Parked { ticket, count });
        self.alarms.insert((until, Alarm::Poll(queue, self.polls)));
        Ok(None)
    }

    /// Whether parked polls and tasks meet in a queue.
    pub(super) fn has_news(&self, queue: u32) -> bool {
        self.queues.get(&queue).is_some_and(|ready| !ready.is_empty())
    }

    /// Ends the polls of a queue that have waited for what is in it now, the oldest first.
    pub(super) fn serve_parked(&mut self, now: Instant, queue: u32, ended: &mut Vec<(Ticket, Vec<Handed>)>) {
        loop {
            let ready = self.queues.get(&queue).map_or(0, VecDeque::len);
            let Some(parked) = self.parked.get_mut(&queue).filter(|_| ready > 0) else { return };
            let backend = self.setup.backend;
            let enough = |poll: &Parked| match backend {
                Backend::Redis | Backend::None => true,
                Backend::Sql => ready >= usize::from(poll.count),
            };
            let Some(number) = parked.iter().find(|(_, poll)| enough(poll)).map(|(number, _)| *number) else {
                return;
            };
            self.end_wait(now, queue, number, ended);
        }
    }

    /// Ends a poll's wait, with what there is.
    pub(super) fn end_wait(
        &mut self,
        now: Instant,
        queue: u32,
        number: u64,
        ended: &mut Vec<(Ticket, Vec<Handed>)>,
    ) {
        let Some(poll) = self.parked.get_mut(&queue).and_then(|parked| parked.remove(&number)) else {
            return;
        };
        ended.push((poll.ticket, self.hand_out(now, poll.ticket, queue, poll.count)));
    }

    /// Takes tasks off a queue for a worker, before it hears of them (R-POLL-1). One that is over its limit counts
    /// too: it was taken off, and is put back.
    pub(super) fn hand_out(&mut self, now: Instant, ticket: Ticket, queue: u32, count: u16) -> Vec<Handed> {
        let mut handed = Vec::new();
        for _ in 0..count {
            let waiting = self.queues.get_mut(&queue);
            let Some(key) = waiting.and_then(VecDeque::pop_front) else { break };
            if let Some(lease) = self.deliver(now, ticket.worker, key) {
                self.effects.push(Effect::Delivered { key, worker: ticket.worker, call: ticket.call, lease });
                handed.push((key, lease));
            }
        }
        handed
    }
}
