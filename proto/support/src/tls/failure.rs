//! Why a handshake failed, in the words of Go's `crypto/tls` and of etcd, which operators search logs for.

use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// What went wrong with a client's handshake, for a server's log.
pub fn handshake_failure(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::AlertReceived(alert)) => format!("remote error: tls: {}", alert_text(*alert)),
        Some(Error::NoCertificatesPresented) => "tls: client didn't provide a certificate".to_owned(),
        // etcd `client/pkg/transport/listener.go`.
        Some(Error::InvalidCertificate(CertificateError::NotValidForName)) => {
            "client certificate authentication failed".to_owned()
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => error.to_string(),
    }
}

/// Go `crypto/tls/alert.go`.
fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::CertificateRequired => "certificate required",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::handshake_failure;
    use rustls::{AlertDescription, CertificateError, Error};
    use std::io;

    #[test]
    fn failures_are_told_in_the_words_of_go() {
        let told = |error: Error| handshake_failure(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(
            told(Error::AlertReceived(AlertDescription::BadCertificate)),
            "remote error: tls: bad certificate"
        );
        assert_eq!(
            told(Error::NoCertificatesPresented),
            "tls: client didn't provide a certificate"
        );
        assert_eq!(
            told(Error::InvalidCertificate(CertificateError::NotValidForName)),
            "client certificate authentication failed"
        );
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(handshake_failure(&cut), "EOF");
    }
}
