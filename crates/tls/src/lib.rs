//! TLS as a [`Layer`](drywire_core::layer::Layer): it stands between any protocol and any
//! transport, and neither of the two knows.
//!
//! Pure but for what cryptography needs: no socket, no thread; randomness from the provider,
//! and the date, against which certificates are checked, from the system.
//!
//! ```
//! use drywire_core::{Connection, Context, Protocol, Stop};
//! use drywire_tls::{Identity, Server};
//! # use std::convert::Infallible;
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     type Event = Infallible;
//! #     type Command = Infallible;
//! #     type Error = Infallible;
//! #     fn consume(&mut self, input: &[u8], cx: &mut Context<'_, Self>) -> Result<usize, Stop<Infallible>> {
//! #         cx.write(input).map(|()| input.len())
//! #     }
//! # }
//! # fn serve(cert: &std::path::Path, key: &std::path::Path) -> Result<(), drywire_tls::TlsError> {
//! let server = Server::new(Identity::from_pem_files(cert, key)?)?;
//! // For each peer, on any driver:
//! let connection = Connection::with_layer(Echo, server.accept()?);
//! # drop(connection);
//! # Ok(())
//! # }
//! ```
//!
//! *Guaranteed*:
//! - All that the engine has to say is put out in the call that made it say so, an alert behind an
//!   error too.
//! - A stream that ends without TLS's own end (close_notify) is told apart from one that ends with
//!   it: [`Reason::Layer`](drywire_core::Reason::Layer), in the words of [`CUT`]. Its complete
//!   messages are answered ([`Protocol::input_cut`](drywire_core::Protocol::input_cut)).
//! - No byte counts as sent that the engine did not encrypt, at the limit of a key's use neither: then the
//!   connection ends in the words of [`USED_UP`], without close_notify, and what is unsent is counted.
//! - Renegotiation is refused (FAULTS 74); rustls has none.
//! - Before the handshake is through no byte of the protocol is encrypted or kept.

mod client;
mod engine;
mod error;
mod identity;
mod layer;
mod server;
mod shown;
mod starttls;

pub use client::{Client, ClientBuilder};
pub use error::TlsError;
pub use identity::Identity;
pub use layer::{CUT, Tls, USED_UP};
pub use rustls::ProtocolVersion;
pub use rustls::RootCertStore;
pub use rustls::crypto::CryptoProvider;
pub use rustls::pki_types::CertificateDer;
pub use server::{ClientCertificates, Server, ServerBuilder};
pub use starttls::StartTls;

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("drywire-tls needs a provider of cryptography: enable the feature `ring` or `aws-lc-rs`");

/// The provider that is used where none is named: ring, or aws-lc-rs where ring is not compiled
/// in. Never the one of the process, which any library may have set.
#[must_use]
pub fn default_provider() -> CryptoProvider {
    #[cfg(feature = "ring")]
    return rustls::crypto::ring::default_provider();
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return rustls::crypto::aws_lc_rs::default_provider();
}
