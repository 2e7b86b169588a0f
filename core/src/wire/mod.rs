//! Formats: to be written.
