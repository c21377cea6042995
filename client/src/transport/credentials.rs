//! Who this process is, and whom it trusts: its certificate and key, and the cluster's CA.
//!
//! Certificates come from outside, normally as PEM files; making them is not done here.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, version};

use super::quic::{Side, Timing, transport_config};

/// The protocol that both sides must name in the handshake (ALPN), so that a connection to something else fails at once.
pub const ALPN: &[u8] = b"quorate/1";

/// Why credentials cannot be used. The file, or what was given in its place, is always named.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read the {what} from {file}: {source}")]
    Unreadable {
        /// What the file should hold.
        what: &'static str,
        /// Which file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read, but does not hold what it should.
    #[error("{file} holds no {what} in PEM format: {reason}")]
    NotPem {
        /// What the file should hold.
        what: &'static str,
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA's certificate cannot serve as one.
    #[error("the certificate in {file} cannot be used as a CA: {reason}")]
    Authority {
        /// The CA's file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key do not work, or not together.
    #[error("the certificate in {certificate} and the key in {key} cannot be used together: {reason}")]
    Identity {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Nobody would take this process for who it is.
    #[error("the certificate {certificate} does not show that this is {name}: {reason}")]
    Name {
        /// Where the certificate came from.
        certificate: String,
        /// The name it must hold.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A certificate with its key, and the CA that the other side's certificate must be signed by. Checked on construction, cheap to
/// clone.
#[derive(Clone)]
pub struct Credentials(Arc<Checked>);

struct Checked {
    authority: String,
    roots: Arc<RootCertStore>,
    certificate: String,
    chain: Vec<CertificateDer<'static>>,
    client: Arc<QuicClientConfig>,
    /// Cloned for every connection: its key of tokens must stay the same.
    server: quinn::ServerConfig,
}

impl Credentials {
    /// Reads three PEM files: the CA's certificate, this process's certificate (and any between the two), and its private key.
    ///
    /// # Errors
    /// [`CredentialsError`], naming the file and what is wrong with it.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, CredentialsError> {
        let ca = Pem::read("CA certificate", ca)?;
        let certificate = Pem::read("certificate", certificate)?;
        let key = Pem::read("private key", key)?;
        Self::from_parts(&ca, &certificate, &key)
    }

    /// The same from PEM text in memory.
    ///
    /// # Errors
    /// [`CredentialsError`], naming which of the three is wrong.
    pub fn from_pem(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let given = |what, bytes: &[u8]| Pem { what, file: format!("the {what} given"), bytes: bytes.to_vec() };
        Self::from_parts(&given("CA certificate", ca), &given("certificate", certificate), &given("private key", key))
    }

    fn from_parts(ca: &Pem, certificate: &Pem, key: &Pem) -> Result<Self, CredentialsError> {
        let roots = Arc::new(roots(ca)?);
        let chain = certificate.certificates()?;
        let private_key = key.private_key()?;
        let identity = |reason: rustls::Error| CredentialsError::Identity {
            certificate: certificate.file.clone(),
            key: key.file.clone(),
            reason: reason.to_string(),
        };
        let client = client_crypto(&roots, chain.clone(), private_key.clone_key()).map_err(identity)?;
        let server = server_crypto(ca, &roots, chain.clone(), private_key)?.map_err(identity)?;
        let (authority, certificate) = (ca.file.clone(), certificate.file.clone());
        Ok(Self(Arc::new(Checked { authority, roots, certificate, chain, client, server })))
    }

    /// Where the CA's certificate came from, for messages.
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// Whether others of the cluster will take this process for the holder of this name: a node looks before it serves, for else it would
    /// run and be refused by everybody.
    ///
    /// # Errors
    /// [`CredentialsError::Name`], if the certificate is of another name, signed by another CA, or not valid now.
    pub fn check_name(&self, name: &str) -> Result<(), CredentialsError> {
        let Checked { authority, roots, certificate, chain, .. } = &*self.0;
        Self::verify(roots, chain, name).map_err(|error| CredentialsError::Name {
            certificate: certificate.clone(),
            name: name.to_owned(),
            reason: match error {
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                    format!("it is not signed by the CA in {authority}")
                }
                rustls::Error::InvalidCertificate(error) => error.to_string(),
                other => other.to_string(),
            },
        })
    }

    fn verify(roots: &Arc<RootCertStore>, chain: &[CertificateDer<'static>], name: &str) -> Result<(), rustls::Error> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let name = ServerName::try_from(name).map_err(|error| rustls::Error::General(error.to_string()))?;
        let (own, between) = chain.split_first().expect("checked when it was read");
        verifier.verify_server_cert(own, between, &name, &[], UnixTime::now()).map(|_| ())
    }

    /// For the side that accepts connections, from this address if it is known: clients must present a certificate signed by the CA. With
    /// the default [`Timing`]; `transport_config` on the result changes it.
    pub fn server_config(&self, remote: Option<SocketAddr>) -> quinn::ServerConfig {
        let mut config = self.0.server.clone();
        config.transport_config(transport_config(Side::Accepting, remote, Timing::default()));
        config
    }

    /// For opening a connection to this address: verifies the node against the CA and presents this certificate. With the default
    /// [`Timing`]; `transport_config` on the result changes it.
    pub fn client_config(&self, remote: SocketAddr) -> quinn::ClientConfig {
        let mut config = quinn::ClientConfig::new(self.0.client.clone());
        config.transport_config(transport_config(Side::Dialing, Some(remote), Timing::default()));
        config
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must not get into logs.
        f.debug_struct("Credentials").field("authority", &self.0.authority).finish_non_exhaustive()
    }
}

/// PEM text and where it came from.
struct Pem {
    what: &'static str,
    file: String,
    bytes: Vec<u8>,
}

impl Pem {
    fn read(what: &'static str, path: &Path) -> Result<Self, CredentialsError> {
        let file = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self { what, file, bytes }),
            Err(source) => Err(CredentialsError::Unreadable { what, file, source }),
        }
    }

    fn wrong(&self, error: &pem::Error) -> CredentialsError {
        CredentialsError::NotPem { what: self.what, file: self.file.clone(), reason: error.to_string() }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(self.wrong(&pem::Error::NoItemsFound)),
            Ok(chain) => Ok(chain),
            Err(error) => Err(self.wrong(&error)),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, CredentialsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| self.wrong(&error))
    }
}

fn roots(ca: &Pem) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca.certificates()? {
        roots.add(certificate).map_err(|error| authority_error(ca, &error))?;
    }
    Ok(roots)
}

fn authority_error(ca: &Pem, error: &dyn fmt::Display) -> CredentialsError {
    CredentialsError::Authority { file: ca.file.clone(), reason: error.to_string() }
}

/// The *ring* library's algorithms, given explicitly so that no process-wide default has to be installed first. AES-128-GCM comes
/// first: with the processor's AES instructions it costs least of the three, and its strength is enough for TLS 1.3.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

fn client_crypto(
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<QuicClientConfig>, rustls::Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Connections live long: a full handshake, which checks both certificates anew, is worth its millisecond.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(QuicClientConfig::try_from(config).expect("the provider has the suite of QUIC's first packets")))
}

/// Fails with the outer error because of the CA, with the inner because of the certificate or its key.
fn server_crypto(
    ca: &Pem,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Result<quinn::ServerConfig, rustls::Error>, CredentialsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
        .build()
        .map_err(|error| authority_error(ca, &error))?;
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key));
    Ok(config.map(|mut config| {
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0; // No resumption, see `client_crypto`.
        let config = QuicServerConfig::try_from(config).expect("the provider has the suite of QUIC's first packets");
        quinn::ServerConfig::with_crypto(Arc::new(config))
    }))
}
