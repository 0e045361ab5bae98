//! What goes wrong: with settings, in words for whoever can mend them; with a peer, in a few words
//! for the close report.

use drywire_core::escape::{escaped, printable};
use rustls::{AlertDescription, Error, InvalidMessage};
use std::io;
use std::path::PathBuf;
use thiserror::Error as ThisError;

/// Settings that cannot be used.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path, and who may read it", printable(&path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file, or text, holds no certificate.
    #[error("{} has no certificate; it needs lines from BEGIN CERTIFICATE to END CERTIFICATE (PEM)", printable(place))]
    NoCertificate {
        /// Where it was looked for.
        place: String,
    },
    /// A file, or text, holds no private key.
    #[error(
        "{} has no private key; it needs lines from BEGIN PRIVATE KEY to END PRIVATE KEY (PEM), not encrypted",
        printable(place)
    )]
    NoKey {
        /// Where it was looked for.
        place: String,
    },
    /// The key is of no kind that is known, or not the certificate's.
    #[error("the certificate and the private key cannot be used together: {}; take the pair that was issued together", escaped(.0))]
    Pair(Error),
    /// A name that no server can have.
    #[error("{0:?} is no name of a server; take a DNS name or an IP address")]
    Name(String),
    /// Everything else that rustls finds wrong with a configuration.
    #[error("TLS cannot be set up: {}", escaped(.0))]
    Setup(Error),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the lists are rustls's and the standard's, and open")]
/// Why a connection failed, in words that are the same each time: details are logged.
pub(crate) fn in_words(error: &Error) -> &'static str {
    match error {
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateUnknown
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired => "the peer does not accept our certificate",
            AlertDescription::CertificateRequired => "the peer asks for a certificate of ours",
            AlertDescription::NoApplicationProtocol => "no application protocol in common (ALPN)",
            AlertDescription::ProtocolVersion => "no version of TLS in common",
            AlertDescription::HandshakeFailure => "the peer found nothing in common",
            AlertDescription::UnrecognisedName => "the peer does not know the name it was asked for",
            _ => "the peer sent an alert",
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "this is no TLS"
        }
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) => "a record is too long",
        Error::InvalidMessage(_) => "a message is malformed",
        Error::DecryptError => "a record was changed on its way",
        Error::PeerSentOversizedRecord => "a record is too long",
        Error::InvalidCertificate(_) => "the peer's certificate is not valid",
        Error::NoCertificatesPresented => "the peer has no certificate",
        Error::NoApplicationProtocol => "no application protocol in common (ALPN)",
        Error::PeerIncompatible(_) => "the peer can do nothing that is allowed here",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            "the peer does not keep to the protocol"
        }
        _ => "the engine failed",
    }
}
