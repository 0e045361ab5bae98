//! A certificate and its private key.

use crate::error::TlsError;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Who one is: certificates, one's own first and those that vouch for it behind it, and the private
/// key. Whether the two belong together is checked where a provider is known.
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both from files in PEM, which may be one and the same.
    ///
    /// *Guaranteed* on Unix: it does not wait for another program. A path that names a FIFO, a device or a
    /// socket by now is an error; it is the file that was opened that is looked at. A network file system may
    /// still make it wait.
    ///
    /// Bound: 1 MiB for each file.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::NoCertificate`], [`TlsError::NoKey`]: each names the file.
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Identity, TlsError> {
        let (chain, secret) = (read(certificates.as_ref())?, read(key.as_ref())?);
        Identity::parse(
            (&chain, &certificates.as_ref().display().to_string()),
            (&secret, &key.as_ref().display().to_string()),
        )
    }

    /// The same from text.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`], [`TlsError::NoKey`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
        Identity::parse((certificates, "the text"), (key, "the text"))
    }

    /// A certificate for these names that nobody vouches for, made now: for development. Who
    /// connects has to be told to trust it, or not to check.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    #[cfg(feature = "self-signed")]
    pub fn self_signed(names: &[&str]) -> Result<Identity, TlsError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let bad = |_| TlsError::Name(names.join(", "));
        let made = rcgen::generate_simple_self_signed(names.clone()).map_err(bad)?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("it was just made");
        Ok(Identity { certificates: vec![made.cert.der().clone()], key })
    }

    /// The certificates, one's own first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    fn parse(certificates: (&[u8], &str), key: (&[u8], &str)) -> Result<Identity, TlsError> {
        let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(certificates.0).collect();
        let no_certificate = || TlsError::NoCertificate { place: certificates.1.to_owned() };
        let chain = chain.map_err(|_| no_certificate())?;
        if chain.is_empty() {
            return Err(no_certificate());
        }
        let no_key = |_| TlsError::NoKey { place: key.1.to_owned() };
        Ok(Identity { certificates: chain, key: PrivateKeyDer::from_pem_slice(key.0).map_err(no_key)? })
    }

    /// The pair as rustls wants it, found to be one.
    pub(crate) fn certify(self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.certificates, self.key, provider).map_err(TlsError::Pair)
    }

    pub(crate) fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.certificates, self.key)
    }
}

/// A chain of certificates has some kilobytes.
const MOST_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_regular(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // Without it, opening a FIFO waits for its writer, and a file with a lease for its holder.
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut contents = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut contents)?;
    match contents.len() as u64 > MOST_BYTES {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(contents),
    }
}

/// Nothing of the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}
