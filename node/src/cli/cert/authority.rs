//! A cluster's certificate authority: ECDSA P-256 keys, and certificates whose names say who their holder is
//! (`n1.demo.quorate`, `client.demo.quorate`). Only makes them in memory; files are the caller's.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_ring::{ClusterName, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use x509_parser::pem::Pem;

use crate::cli::exit::Failure;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of randomness in a cluster's secret; written as twice as many hexadecimal digits.
const SECRET_BYTES: usize = 32;
/// What the names in all certificates of Quorate end with. No public authority gives out names under it.
const DOMAIN: &str = ".quorate";

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A node of the cluster.
    Node(NodeId),
    /// A client, by the name its operator gave it.
    Client(String),
}

impl Identity {
    /// What its files are called, without the ending.
    pub(crate) fn file_stem(&self) -> String {
        match self {
            Self::Node(node) => node.to_string(),
            Self::Client(name) => name.clone(),
        }
    }

    /// The names in its certificate. A node has the cluster's too, so that clients can talk to seeds whose number they do not
    /// know.
    fn names(&self, cluster: &ClusterName) -> Vec<String> {
        match self {
            Self::Node(node) => vec![format!("{node}.{cluster}{DOMAIN}"), format!("{cluster}{DOMAIN}")],
            Self::Client(_) => vec![format!("client.{cluster}{DOMAIN}")],
        }
    }
}

/// A certificate and its private key.
#[derive(Clone)]
pub(crate) struct Issued {
    /// The certificate.
    pub(crate) certificate_pem: String,
    /// The private key, to be kept by the holder only.
    pub(crate) key_pem: String,
}

/// The authority of one cluster.
pub(crate) struct Authority {
    cluster: ClusterName,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one, valid from now.
    ///
    /// # Errors
    /// If keys cannot be made.
    pub(crate) fn create(cluster: ClusterName, days: u32) -> Result<Self, Failure> {
        let key = KeyPair::generate().map_err(cannot_make)?;
        let mut params = params(&format!("{cluster}{DOMAIN}"), Vec::new(), days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate_pem = params.self_signed(&key).map_err(cannot_make)?.pem();
        Ok(Self { cluster, certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// Reads one back.
    ///
    /// # Errors
    /// If the files cannot be read, or are not those of an authority that `quorate cert init` made.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let read = |path: &Path| {
            let help = "make an authority with `quorate cert init --cluster NAME --dir DIRECTORY`, or give its --dir";
            fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error).help(help))
        };
        let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
        let malformed = |path: &Path, what: &str| Failure::local(format!("{} holds no {what}", path.display()));
        let cluster = cluster_of(&certificate_pem)
            .ok_or_else(|| malformed(certificate, "certificate of an authority made by `quorate cert init`"))?;
        let key_pair = KeyPair::from_pem(&key_pem).map_err(|_| malformed(key, "private key in PEM"))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key_pair)
            .map_err(|_| malformed(certificate, "certificate of an authority"))?;
        Ok(Self { cluster, certificate_pem, issuer })
    }

    /// Makes a key and signs a certificate for it.
    ///
    /// # Errors
    /// If keys cannot be made.
    pub(crate) fn issue(&self, identity: &Identity, days: u32) -> Result<Issued, Failure> {
        let key = KeyPair::generate().map_err(cannot_make)?;
        let mut params = params(&identity.file_stem(), identity.names(&self.cluster), days)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match identity {
            Identity::Node(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Identity::Client(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let certificate = params.signed_by(&key, &self.issuer).map_err(cannot_make)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The cluster it is of.
    pub(crate) fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Its certificate, which every node and client trusts.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key.
    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// A new secret for a cluster, as text.
///
/// # Errors
/// If the operating system has no randomness to give.
pub(crate) fn random_secret() -> Result<String, Failure> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::local(format!("cannot get randomness: {error}")))?;
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.concat() + "\n")
}

/// Checks a client's name: like a cluster's, and not one that the files of an authority or a node have.
pub(crate) fn client_name(name: &str) -> Result<String, String> {
    ClusterName::new(name).map_err(|error| error.to_string())?;
    let node =
        name.strip_prefix('n').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    if node || name == "ca" {
        return Err(format!(
            "{name:?} is what the files of {} are called",
            if node { "a node" } else { "the authority" }
        ));
    }
    Ok(name.to_owned())
}

fn params(common_name: &str, names: Vec<String>, days: u32) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(names).map_err(cannot_make)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "Quorate");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    // A day back, for machines whose clocks are behind this one's.
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + DAY * days;
    Ok(params)
}

/// The cluster of an authority: its common name, without the ending.
fn cluster_of(certificate_pem: &str) -> Option<ClusterName> {
    let (pem, _) = Pem::read(std::io::Cursor::new(certificate_pem)).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    ClusterName::new(name.strip_suffix(DOMAIN)?).ok()
}

fn cannot_make(error: rcgen::Error) -> Failure {
    Failure::local(format!("cannot make a certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> ClusterName {
        ClusterName::new("demo").expect("valid")
    }

    #[test]
    fn authority_that_was_stored_issues_for_the_same_cluster() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (certificate, key) = (directory.path().join("ca.pem"), directory.path().join("ca.key"));
        let made = Authority::create(demo(), 1).expect("made");
        fs::write(&certificate, made.certificate_pem()).expect("written");
        fs::write(&key, made.key_pem()).expect("written");
        let loaded = Authority::load(&certificate, &key).expect("loaded");
        assert_eq!(loaded.cluster(), &demo());
        let node = NodeId::new(7).expect("not 0");
        let issued = loaded.issue(&Identity::Node(node), 1).expect("issued");
        let (pem, _) = Pem::read(std::io::Cursor::new(issued.certificate_pem)).expect("PEM");
        let certificate = pem.parse_x509().expect("a certificate");
        let names = certificate.subject_alternative_name().expect("readable").expect("there");
        let names: Vec<_> = names.value.general_names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["DNSName(n7.demo.quorate)", "DNSName(demo.quorate)"]);
        let ca = Pem::read(std::io::Cursor::new(made.certificate_pem())).expect("PEM").0;
        let ca = ca.parse_x509().expect("a certificate");
        assert_eq!(certificate.issuer(), ca.subject(), "signed by the authority that was stored");
    }

    #[test]
    fn certificate_that_is_no_authority_of_ours_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (certificate, key) = (directory.path().join("ca.pem"), directory.path().join("ca.key"));
        let made = Authority::create(demo(), 1).expect("made");
        let client = made.issue(&Identity::Client("app".into()), 1).expect("issued");
        fs::write(&certificate, client.certificate_pem).expect("written");
        fs::write(&key, client.key_pem).expect("written");
        assert!(Authority::load(&certificate, &key).is_err());
    }

    #[test]
    fn client_is_not_called_like_a_node_or_the_authority() {
        for name in ["n1", "n42", "ca", "", "A", "a b"] {
            assert!(client_name(name).is_err(), "{name:?}");
        }
        for name in ["app", "n", "n1a", "cart-service"] {
            assert_eq!(client_name(name), Ok(name.to_owned()));
        }
    }

    #[test]
    fn secrets_are_long_enough_and_differ() {
        let (one, two) = (random_secret().expect("made"), random_secret().expect("made"));
        assert_eq!(one.len(), 2 * SECRET_BYTES + 1);
        assert_ne!(one, two);
    }
}
