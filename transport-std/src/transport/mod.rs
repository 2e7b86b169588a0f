//! How calls reach the server: two transports, whom they trust, and what chooses between them.

mod choice;
mod date;
mod lean;
mod storage;
mod trust;
mod ureq;

pub(crate) use self::choice::Factory;
pub use self::choice::TransportChoice;
pub use self::lean::LeanTransport;
pub(crate) use self::storage::{Missing, Storage};
pub(crate) use self::trust::Trust;
pub use self::ureq::UreqTransport;
pub(crate) use self::ureq::base;
