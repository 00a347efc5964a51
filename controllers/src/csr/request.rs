//! What a PKCS#10 request asks for.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

/// The parts that decisions read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<String>,
    /// Names of other sorts, such as URIs and mail addresses.
    pub other_names: usize,
}

impl Wanted {
    /// `None` if the bytes aren't one PEM block with a well-formed request.
    pub fn parse(pem_bytes: &[u8]) -> Option<Self> {
        let block = pem::parse(pem_bytes).ok()?;
        let (_, request) = X509CertificationRequest::from_der(block.contents()).ok()?;
        let subject = &request.certification_request_info.subject;
        let mut wanted = Self {
            common_name: subject.iter_common_name().next()?.as_str().ok()?.to_owned(),
            organizations: subject
                .iter_organization()
                .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
                .collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else {
                continue;
            };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => wanted.dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => wanted.addresses.push(address(bytes)),
                    _ => wanted.other_names += 1,
                }
            }
        }
        Some(wanted)
    }
}

fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        std::net::Ipv4Addr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        std::net::Ipv6Addr::from(v6).to_string()
    } else {
        // No node has such an address, so nothing will match it.
        "invalid".to_owned()
    }
}
