//! Task definitions: what a server does with a task that fails, goes silent or takes too long.

use std::time::Duration;

/// A task definition with the queue that its tasks go to.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Which queue: a task type in a domain.
    pub queue: u32,
    /// `responseTimeoutSeconds` (R-LEASE-1); default 3,600 s.
    pub response_timeout: Duration,
    /// `retryCount`; default 3.
    pub retries: u32,
    /// `retryDelaySeconds`; default 60 s.
    pub retry_delay: Duration,
    /// `retryLogic`; the default is the same delay each time.
    pub retry_logic: RetryLogic,
    /// `maxRetryDelaySeconds`; zero means no cap.
    pub retry_delay_max: Duration,
    /// `backoffJitterMs`: each delay is up to this much longer, after the cap.
    pub retry_jitter: Duration,
    /// `timeoutSeconds`, from the first delivery; `None` means no bound.
    pub timeout: Option<Duration>,
    /// `pollTimeoutSeconds`: how long a task may wait in its queue. `None` means no bound.
    pub poll_timeout: Option<Duration>,
    /// `timeoutPolicy` of the two timeouts above.
    pub timeout_policy: TimeoutPolicy,
    /// `concurrentExecLimit`, with the definitions that share it.
    pub limit: Option<Limit>,
}

/// How the delays before retries grow (R-RETRY-2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryLogic {
    /// The same each time.
    Fixed,
    /// `delay * scale * (n + 1)` before the retry of attempt n.
    Linear {
        /// `backoffScaleFactor`.
        scale: u32,
    },
    /// `delay * 2^n` before the retry of attempt n.
    Exponential,
}

/// What follows `timeoutSeconds` and `pollTimeoutSeconds` (R-TIMEOUT-2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeoutPolicy {
    /// The task ends and is retried.
    Retry,
    /// The task ends, and its workflow with it.
    TimeOutWorkflow,
    /// Nothing.
    AlertOnly,
}

/// How many tasks of a group may be in progress at once (R-QUEUE-3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// The group: definitions of the same task type in several domains share one.
    pub group: u32,
    /// The most in progress at once.
    pub at_most: u32,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            queue: 0,
            response_timeout: Duration::from_secs(3_600),
            retries: 3,
            retry_delay: Duration::from_secs(60),
            retry_logic: RetryLogic::Fixed,
            retry_delay_max: Duration::ZERO,
            retry_jitter: Duration::ZERO,
            timeout: None,
            poll_timeout: None,
            timeout_policy: TimeoutPolicy::TimeOutWorkflow,
            limit: None,
        }
    }
}

impl Definition {
    /// Returns how long after the failure of attempt `n` (from 0) its retry comes, without jitter
    /// (R-RETRY-2).
    #[must_use]
    pub fn delay_after(&self, n: u32) -> Duration {
        let factor = match self.retry_logic {
            RetryLogic::Fixed => 1,
            RetryLogic::Linear { scale } => scale.saturating_mul(n.saturating_add(1)),
            RetryLogic::Exponential => 1_u32.checked_shl(n).unwrap_or(u32::MAX),
        };
        let delay = self.retry_delay.saturating_mul(factor);
        if self.retry_delay_max.is_zero() { delay } else { delay.min(self.retry_delay_max) }
    }
}
