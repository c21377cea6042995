//! What it means when a connection cannot be opened or ends: from QUIC's and TLS's errors to [`ConnectProblem`].

use quinn::{ConnectError, ConnectionError, TransportErrorCode};

use super::Credentials;
use super::stream::{ReceiveError, SendError};

pub use crate::problem::ConnectProblem;

/// Alerts of TLS (RFC 8446, section 6.2) that tell what was wrong with a certificate.
mod alert {
    pub(super) const BAD_CERTIFICATE: u8 = 42;
    pub(super) const CERTIFICATE_EXPIRED: u8 = 45;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

impl ConnectProblem {
    /// What an attempt to start connecting failed with.
    pub fn of_connect(error: &ConnectError, address: &str) -> Self {
        match error {
            ConnectError::EndpointStopping => Self::Lost { reason: "this side is closing".to_owned() },
            other => Self::Address { address: address.to_owned(), reason: other.to_string() },
        }
    }

    /// What a handshake failed with, or what ended a connection, when the other side should have held the name `wanted`.
    pub fn of_connection(error: &ConnectionError, credentials: &Credentials, wanted: &str) -> Self {
        match error {
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::VersionMismatch => Self::OtherProtocol,
            ConnectionError::TransportError(error) => match alert_of(error.code) {
                Some(alert) => Self::of_own_alert(alert, &error.reason, credentials, wanted),
                None => Self::Lost { reason: error.to_string() },
            },
            ConnectionError::ConnectionClosed(close) => match alert_of(close.error_code) {
                Some(alert) => Self::of_their_alert(alert),
                None => Self::Lost { reason: close.to_string() },
            },
            other => Self::Lost { reason: other.to_string() },
        }
    }

    /// The same where a failure to receive is at hand.
    pub fn of_receive(error: &ReceiveError, credentials: &Credentials, wanted: &str) -> Self {
        match error {
            ReceiveError::Connection(error) => Self::of_connection(error, credentials, wanted),
            ReceiveError::Frame(_) => Self::OtherProtocol,
            other => Self::Lost { reason: other.to_string() },
        }
    }

    /// The same where a failure to send is at hand.
    pub fn of_send(error: &SendError, credentials: &Credentials, wanted: &str) -> Self {
        match error {
            SendError::Connection(error) => Self::of_connection(error, credentials, wanted),
            other => Self::Lost { reason: other.to_string() },
        }
    }

    fn of_own_alert(alert: u8, reason: &str, credentials: &Credentials, wanted: &str) -> Self {
        match alert {
            // Two CAs that have the same name differ only in the signature.
            alert::UNKNOWN_CA | alert::DECRYPT_ERROR => {
                Self::UnknownAuthority { authority: credentials.authority().to_owned() }
            }
            // One alert for both: only the words tell them apart.
            alert::BAD_CERTIFICATE if reason.contains("not valid for name") => {
                Self::OtherName { wanted: wanted.to_owned() }
            }
            alert::CERTIFICATE_EXPIRED => Self::Expired,
            alert::NO_APPLICATION_PROTOCOL => Self::OtherProtocol,
            _ => Self::Lost { reason: reason.to_owned() },
        }
    }

    fn of_their_alert(alert: u8) -> Self {
        let reason = match alert {
            alert::NO_APPLICATION_PROTOCOL => return Self::OtherProtocol,
            alert::UNKNOWN_CA | alert::DECRYPT_ERROR => "it is not signed by the CA that the node trusts".to_owned(),
            alert::CERTIFICATE_EXPIRED => "it has expired or is not valid yet".to_owned(),
            alert::CERTIFICATE_REQUIRED => "none was presented".to_owned(),
            other => format!("TLS alert {other}"),
        };
        Self::OwnCertificateRefused { reason }
    }
}

/// The TLS alert in a QUIC error code (RFC 9001, section 4.8), if it is one.
fn alert_of(code: TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}
