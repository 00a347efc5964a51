//! TLS and users.

use super::{idle, served};
use crate::flag::{Flag, Kind};

pub const FLAGS: &[Flag] = &[
    served(
        "pki",
        Kind::Text,
        "",
        "Folder with keys made by `trireme keys`, instead of the files of both TLS sides.",
    ),
    served(
        "cert-file",
        Kind::Text,
        "",
        "Certificate for clients, read anew when it changes.",
    ),
    served("key-file", Kind::Text, "", "Key of --cert-file."),
    idle(
        "client-cert-file",
        Kind::Text,
        "",
        "a member makes no connections to its own client port",
    ),
    idle(
        "client-key-file",
        Kind::Text,
        "",
        "a member makes no connections to its own client port",
    ),
    served(
        "client-cert-auth",
        Kind::Bool,
        "false",
        "Clients must show a certificate.",
    ),
    served(
        "trusted-ca-file",
        Kind::Text,
        "",
        "Authorities of the clients' certificates.",
    ),
    served(
        "client-crl-file",
        Kind::Text,
        "",
        "Clients' certificates that are revoked.",
    ),
    served(
        "client-cert-allowed-cn",
        Kind::List,
        "",
        "Common names of which a client's certificate must have one.",
    ),
    served(
        "client-cert-allowed-hostname",
        Kind::List,
        "",
        "Names of which a client's certificate must have one.",
    ),
    served(
        "auto-tls",
        Kind::Bool,
        "false",
        "Serve clients with a certificate made for it.",
    ),
    served(
        "peer-cert-file",
        Kind::Text,
        "",
        "Certificate between members, read anew when it changes.",
    ),
    served("peer-key-file", Kind::Text, "", "Key of --peer-cert-file."),
    served(
        "peer-client-cert-file",
        Kind::Text,
        "",
        "Certificate to show to other members, when not --peer-cert-file.",
    ),
    served(
        "peer-client-key-file",
        Kind::Text,
        "",
        "Key of --peer-client-cert-file.",
    ),
    served(
        "peer-client-cert-auth",
        Kind::Bool,
        "false",
        "Members must show a certificate.",
    ),
    served(
        "peer-trusted-ca-file",
        Kind::Text,
        "",
        "Authorities of the members' certificates.",
    ),
    served(
        "peer-crl-file",
        Kind::Text,
        "",
        "Members' certificates that are revoked.",
    ),
    served(
        "peer-cert-allowed-cn",
        Kind::List,
        "",
        "Common names of which a member's certificate must have one.",
    ),
    served(
        "peer-cert-allowed-hostname",
        Kind::List,
        "",
        "Names of which a member's certificate must have one.",
    ),
    idle(
        "peer-skip-client-san-verification",
        Kind::Bool,
        "false",
        "the names in a member's certificate are never compared with where it calls from",
    ),
    served(
        "peer-auto-tls",
        Kind::Bool,
        "false",
        "Serve members with a certificate made for it.",
    ),
    served(
        "self-signed-cert-validity",
        Kind::Uint,
        "1",
        "Years for which the certificates of --auto-tls and --peer-auto-tls are valid.",
    ),
    served(
        "cipher-suites",
        Kind::List,
        "",
        "Cipher suites of TLS 1.2; all sound ones when not given.",
    ),
    served("tls-min-version", Kind::Text, "TLS1.2", "TLS1.2 or TLS1.3."),
    served(
        "tls-max-version",
        Kind::Text,
        "",
        "TLS1.2 or TLS1.3; the newest when not given.",
    ),
    served(
        "cors",
        Kind::Origins,
        "*",
        "Origins from which browsers may call.",
    ),
    served(
        "host-whitelist",
        Kind::Set,
        "*",
        "Host names under which plain HTTP without TLS is answered.",
    ),
    served(
        "auth-token",
        Kind::Text,
        "simple",
        "Kind of the users' tokens: simple, or jwt,OPTIONS.",
    ),
    served(
        "auth-token-ttl",
        Kind::Uint,
        "300",
        "Seconds that a simple token lives after its last use.",
    ),
    served(
        "bcrypt-cost",
        Kind::Uint,
        "10",
        "Strength of the hashes of passwords.",
    ),
];
