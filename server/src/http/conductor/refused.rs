//! Errors, as the server words them (R-HTTP-5, R-HTTP-6).

use serde::Serialize;

/// A request that was turned down: a status and a message, in the server's words where a worker may read them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The HTTP status: 400, 401, 404, 405, 409 or 500.
    pub status: u16,
    /// What the body's `message` says.
    pub message: String,
    /// `validationErrors`: path, message and, if it was there, the value.
    pub(crate) invalid: Vec<(String, String, Option<String>)>,
    /// What the body's `retryable` says.
    pub(crate) retryable: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    status: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'static str>,
    retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_errors: Vec<Invalid<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invalid<'a> {
    path: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_value: Option<&'a str>,
}

impl Refused {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), invalid: Vec::new(), retryable: false }
    }

    /// 404, for a thing named.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 500: what most mistakes of a client get.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// 500 for a text with U+0000, which PostgreSQL cannot hold, after its effect (R-PAYLOAD-6).
    pub(crate) fn nul() -> Self {
        let message =
            "ERROR: unsupported Unicode escape sequence. Detail: \\u0000 cannot be converted to text.";
        Self { retryable: true, ..Self::failed(message) }
    }

    /// 500 for a body that cannot be read.
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        Self::failed(format!("JSON parse error: {error}"))
    }

    /// 400 with `validationErrors`.
    pub(crate) fn invalid(invalid: Vec<(String, String, Option<String>)>) -> Self {
        let message = "Validation failed, check below errors for detail.";
        Self { invalid, ..Self::new(400, message) }
    }

    /// The body that goes over the wire.
    pub(crate) fn body(&self) -> String {
        let invalid = self.invalid.iter().map(|(path, message, value)| Invalid {
            path,
            message,
            invalid_value: value.as_deref(),
        });
        let body = Body {
            status: self.status,
            message: &self.message,
            instance: self.invalid.is_empty().then_some("downbeat-sim"),
            retryable: self.retryable,
            validation_errors: invalid.collect(),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.message)?;
        for (path, message, _) in &self.invalid {
            write!(f, "; {path}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}
