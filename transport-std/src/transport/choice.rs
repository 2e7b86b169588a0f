//! Which transport a runner uses.

use std::str::FromStr;

use downbeat_core::ports::Transport;

use super::lean::LeanTransport;
use super::trust::Trust;
use super::ureq::UreqTransport;
use crate::clock::StdClock;
use crate::error::Error;

/// Makes a transport for each thread; what they share (connections) is inside.
pub(crate) type Factory = Box<dyn Fn() -> Box<dyn Transport + Send> + Send + Sync>;

/// Which transport a runner uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TransportChoice {
    /// [`LeanTransport`], unless the environment names a proxy (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`), which only
    /// ureq can use.
    #[default]
    Auto,
    /// [`UreqTransport`]: a pool of connections, proxies.
    Ureq,
    /// [`LeanTransport`]: less CPU; proxies in the environment are not used.
    Lean,
}

impl FromStr for TransportChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "ureq" => Ok(Self::Ureq),
            "lean" => Ok(Self::Lean),
            _ => Err("a transport is `auto`, `ureq` or `lean`"),
        }
    }
}

impl TransportChoice {
    /// What makes a transport for each thread; they share their connections.
    pub(crate) fn factory(self, url: &str, clock: StdClock, trust: &Trust) -> Result<Factory, Error> {
        if self.is_lean() {
            let lean = LeanTransport::trusting(url, clock, trust)?;
            return Ok(Box::new(move || -> Box<dyn Transport + Send> { Box::new(lean.clone()) }));
        }
        let ureq = UreqTransport::trusting(url, clock, trust)?;
        Ok(Box::new(move || -> Box<dyn Transport + Send> { Box::new(ureq.clone()) }))
    }

    fn is_lean(self) -> bool {
        match self {
            Self::Auto => {
                !PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|url| !url.is_empty()))
            }
            Self::Ureq => false,
            Self::Lean => true,
        }
    }
}

/// The variables that ureq takes a proxy from.
const PROXIES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
