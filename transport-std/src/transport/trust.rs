//! Who may vouch for a TLS server.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::Error;

/// The roots of trust, the same for every transport: what this machine trusts (or what `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name in its place), Mozilla's if there is nothing of that kind, and a file of the user's besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    own: Arc<[CertificateDer<'static>]>,
}

impl Trust {
    /// Trusts the certificates in this file (PEM) too.
    pub(crate) fn with_file(path: &Path) -> Result<Self, Error> {
        let wrong = |problem: String| Error::CaFile { path: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|cause| wrong(cause.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|cause| wrong(cause.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|cause| wrong(cause.to_string()))?;
        }
        Ok(Self { own: certificates.into() })
    }

    /// For rustls.
    pub(crate) fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates());
        store
    }

    /// For ureq.
    pub(crate) fn tls(&self) -> TlsConfig {
        let certificates = self.certificates();
        let certificates = certificates.iter().map(|der| Certificate::from_der(der).to_owned());
        TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(certificates.collect()))).build()
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let machine = rustls_native_certs::load_native_certs();
        let mut all = machine.certs;
        if all.is_empty() {
            for cause in machine.errors {
                tracing::warn!(%cause, "the root certificates of this machine cannot be read; Mozilla's are used");
            }
            all.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        }
        all.extend(self.own.iter().cloned());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_with_its_name() {
        for (text, problem) in
            [("hello", "there is no certificate in it"), ("", "there is no certificate in it")]
        {
            let file = std::env::temp_dir().join(format!("downbeat-ca-{}", std::process::id()));
            std::fs::write(&file, text).unwrap();
            let error = Trust::with_file(&file).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("downbeat-ca-"), "{error}");
            std::fs::remove_file(&file).unwrap();
        }
        let error = Trust::with_file(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
        assert!(error.starts_with("the certificates in /nowhere/ca.pem cannot be used: "), "{error}");
    }

    #[test]
    fn without_a_word_of_the_user_somebody_is_trusted() {
        assert!(Trust::default().store().len() > 10);
    }
}
