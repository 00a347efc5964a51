//! Both ends, made from files.

use super::{
    Allowed, CertificateAuthority, CertificateRequest, ClientTls, Identity, IdentityFiles, ServerTls,
    TlsFiles, TlsPolicy, TlsVersion, Trust, Usage, self_signed,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("support-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(file);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn identity(&self, name: &str, identity: &Identity) -> IdentityFiles {
        IdentityFiles {
            cert: self.write(&format!("{name}.crt"), &identity.cert_pem),
            key: self.write(&format!("{name}.key"), &identity.key_pem),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::generate("test", Timestamp::now()).expect("a root")
}

fn request(common_name: &str, host: &str) -> CertificateRequest {
    CertificateRequest {
        common_name: common_name.to_owned(),
        organizations: Vec::new(),
        subject_alt_names: vec![host.to_owned(), "127.0.0.1".to_owned()],
        usage: Usage::Peer,
        validity: Duration::from_secs(3600),
    }
}

fn issue(authority: &CertificateAuthority, common_name: &str, host: &str) -> Identity {
    authority
        .issue(&request(common_name, host), Timestamp::now())
        .expect("a valid request")
}

fn files(identity: IdentityFiles, trust: Option<&Path>) -> TlsFiles {
    TlsFiles {
        identity,
        trust: trust.map(|path| Trust::File(path.to_owned())),
        revoked: None,
    }
}

/// Whether both ends think that they are connected: a client learns late that it was turned away.
async fn connected(client: &ClientTls, server: &ServerTls) -> bool {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (near, far) = tokio::join!(
        client.connect("127.0.0.1:1", Box::new(near)),
        server.accept(Box::new(far))
    );
    near.is_ok() && far.is_ok()
}

#[tokio::test]
async fn a_server_follows_its_files_and_keeps_what_worked() {
    let folder = Folder::new("follow");
    let (old, new) = (authority(), authority());
    let server_files = folder.identity("server", &issue(&old, "server", "a"));
    let server = ServerTls::from_files(files(server_files.clone(), None), TlsPolicy::default()).expect("tls");
    let trusting = |ca: &CertificateAuthority| ClientTls::new(ca.cert_pem(), None).expect("tls");
    assert!(connected(&trusting(&old), &server).await);
    let next = issue(&new, "server", "a");
    std::fs::write(&server_files.cert, &next.cert_pem).expect("written");
    assert!(
        connected(&trusting(&old), &server).await,
        "half a pair changes nothing"
    );
    std::fs::write(&server_files.key, &next.key_pem).expect("written");
    assert!(connected(&trusting(&new), &server).await);
    assert!(!connected(&trusting(&old), &server).await);
    std::fs::remove_file(&server_files.key).expect("removed");
    assert!(
        connected(&trusting(&new), &server).await,
        "a lost file changes nothing"
    );
}

#[tokio::test]
async fn a_client_follows_its_files() {
    let folder = Folder::new("client");
    let (old, new) = (authority(), authority());
    let trusted = folder.write("trusted.crt", new.cert_pem());
    let server_files = folder.identity("server", &issue(&new, "server", "a"));
    let server =
        ServerTls::from_files(files(server_files, Some(&trusted)), TlsPolicy::default()).expect("tls");
    let client_files = folder.identity("client", &issue(&old, "client", "b"));
    let client =
        ClientTls::from_files(files(client_files, Some(&trusted)), TlsPolicy::default()).expect("tls");
    assert!(!connected(&client, &server).await, "a stranger");
    folder.identity("client", &issue(&new, "client", "b"));
    assert!(connected(&client, &server).await);
}

#[tokio::test]
async fn only_allowed_names_are_let_in() {
    let folder = Folder::new("names");
    let ca = authority();
    let trusted = folder.write("ca.crt", ca.cert_pem());
    let identity = folder.identity("server", &issue(&ca, "server", "a"));
    let client = ClientTls::new(ca.cert_pem(), Some(&issue(&ca, "m1", "m1.example.com"))).expect("tls");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (allowed, let_in) in [
        (Allowed::Anyone, true),
        (Allowed::CommonNames(names(&["m2", "m1"])), true),
        (Allowed::CommonNames(names(&["m2"])), false),
        (Allowed::Hostnames(names(&["m1.example.com"])), true),
        (Allowed::Hostnames(names(&["127.0.0.1"])), true),
        (Allowed::Hostnames(names(&["m2.example.com"])), false),
    ] {
        let policy = TlsPolicy {
            allowed: allowed.clone(),
            ..TlsPolicy::default()
        };
        let server = ServerTls::from_files(files(identity.clone(), Some(&trusted)), policy).expect("tls");
        let accepted = connected(&client, &server).await;
        assert_eq!(accepted, let_in, "{allowed:?}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_turned_away_as_soon_as_the_list_says_so() {
    let folder = Folder::new("revoked");
    let ca = authority();
    let client_identity = issue(&ca, "m1", "b");
    let client = ClientTls::new(ca.cert_pem(), Some(&client_identity)).expect("tls");
    let list = folder.write("list.crl", revocation_list(&ca, None));
    let server = TlsFiles {
        revoked: Some(list),
        ..files(
            folder.identity("server", &issue(&ca, "server", "a")),
            Some(&folder.write("ca.crt", ca.cert_pem())),
        )
    };
    let server = ServerTls::from_files(server, TlsPolicy::default()).expect("tls");
    assert!(connected(&client, &server).await);
    folder.write("list.crl", revocation_list(&ca, Some(&client_identity)));
    assert!(!connected(&client, &server).await);
}

/// A list in DER, of one certificate or none.
fn revocation_list(ca: &CertificateAuthority, revoked: Option<&Identity>) -> Vec<u8> {
    let now = time::OffsetDateTime::now_utc();
    let serial = |identity: &Identity| {
        let pem = pem::parse(&identity.cert_pem).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(pem.contents()).expect("a certificate");
        SerialNumber::from_slice(certificate.raw_serial())
    };
    let params = CertificateRevocationListParams {
        this_update: now,
        next_update: now + time::Duration::hours(1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .map(|identity| RevokedCertParams {
                serial_number: serial(identity),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
            .into_iter()
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let key = KeyPair::from_pem(ca.key_pem()).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(ca.cert_pem(), key).expect("an issuer");
    params.signed_by(&issuer).expect("signed").der().to_vec()
}

#[tokio::test]
async fn versions_that_have_nothing_in_common_do_not_meet() {
    let folder = Folder::new("versions");
    let ca = authority();
    let identity = folder.identity("server", &issue(&ca, "server", "a"));
    let trusted = folder.write("ca.crt", ca.cert_pem());
    let policy = |min, max| TlsPolicy {
        min,
        max,
        ..TlsPolicy::default()
    };
    let server = ServerTls::from_files(
        files(identity.clone(), None),
        policy(Some(TlsVersion::V1_3), None),
    );
    let client =
        |policy| ClientTls::from_files(files(identity.clone(), Some(&trusted)), policy).expect("tls");
    let server = server.expect("tls");
    assert!(connected(&client(policy(None, None)), &server).await);
    assert!(!connected(&client(policy(None, Some(TlsVersion::V1_2))), &server).await);
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_can_be_trusted_by_itself_or_by_anyone() {
    let folder = Folder::new("self");
    let made = self_signed(&request("m1", "localhost"), Timestamp::now()).expect("a certificate");
    let identity = folder.identity("self", &made);
    let server = ServerTls::from_files(files(identity.clone(), None), TlsPolicy::default()).expect("tls");
    let knowing = ClientTls::new(&made.cert_pem, None).expect("tls");
    assert!(connected(&knowing, &server).await);
    let careless = TlsFiles {
        trust: Some(Trust::Anyone),
        ..files(identity, None)
    };
    let careless = ClientTls::from_files(careless, TlsPolicy::default()).expect("tls");
    assert!(connected(&careless, &server).await);
    let strict = ClientTls::new(authority().cert_pem(), None).expect("tls");
    assert!(!connected(&strict, &server).await);
}

/// What `openssl req -x509` makes: an authority's certificate that names a server.
fn authority_of_itself(host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    Identity {
        cert_pem: params.self_signed(&key).expect("signed").pem(),
        key_pem: key.serialize_pem(),
    }
}

#[tokio::test]
async fn an_authority_that_is_trusted_may_be_an_end_itself() {
    let day = time::Duration::days(1);
    let (own, other) = ("127.0.0.1", "localhost");
    let good = || authority_of_itself(own, |_| ());
    let expired = authority_of_itself(own, |params| {
        params.not_after = time::OffsetDateTime::now_utc() - day;
    });
    let early = authority_of_itself(own, |params| {
        params.not_before = time::OffsetDateTime::now_utc() + day;
    });
    let usage = |usage| authority_of_itself(own, |params| params.extended_key_usages = vec![usage]);
    let (clients, servers) = (
        usage(ExtendedKeyUsagePurpose::ClientAuth),
        usage(ExtendedKeyUsagePurpose::ServerAuth),
    );
    for (name, end, as_server, as_client) in [
        ("good", &good(), true, true),
        ("expired", &expired, false, false),
        ("early", &early, false, false),
        (
            "of another name",
            &authority_of_itself(other, |_| ()),
            false,
            true,
        ),
        ("for clients", &clients, false, true),
        ("for servers", &servers, true, false),
    ] {
        let trusting = ClientTls::new(&end.cert_pem, None).expect("tls");
        let server = ServerTls::new(end, None, false).expect("tls");
        assert_eq!(
            connected(&trusting, &server).await,
            as_server,
            "a server's, {name}"
        );
        let fine = good();
        let client = ClientTls::new(&fine.cert_pem, Some(end)).expect("tls");
        let server = ServerTls::new(&fine, Some(&end.cert_pem), true).expect("tls");
        assert_eq!(connected(&client, &server).await, as_client, "a client's, {name}");
        let server = ServerTls::new(&fine, Some(&good().cert_pem), true).expect("tls");
        assert!(!connected(&client, &server).await, "a stranger, {name}");
    }
}

#[test]
fn a_self_made_certificate_ends_when_it_should() {
    let now = Timestamp::now();
    let made = self_signed(&request("m1", "localhost"), now).expect("a certificate");
    let pem = pem::parse(&made.cert_pem).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(pem.contents()).expect("a certificate");
    let end = (now + SignedDuration::from_hours(1)).as_second();
    assert_eq!(certificate.validity().not_after.timestamp(), end);
}
