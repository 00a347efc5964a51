//! The whole configuration: settings, and what follows from several of them together.

use crate::catalogue;
use crate::flag::Standing;
use crate::settings::{Settings, Source};
use crate::url::{Scheme, Url};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why a configuration can't be used. The texts are etcd's where etcd refuses the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A member's configuration, complete and checked as far as that goes without looking at the machine.
#[derive(Debug, Clone)]
pub struct Options {
    pub settings: Settings,
    pub name: String,
    pub data_dir: PathBuf,
    pub listen_client: Vec<Url>,
    pub listen_client_http: Vec<Url>,
    pub listen_metrics: Vec<Url>,
    pub listen_peer: Vec<Url>,
    /// `None` when the listeners were given and this was not.
    pub advertise_client: Option<Vec<Url>>,
    pub advertise_peer: Vec<Url>,
    /// Peer URLs of every member, by name.
    pub initial_cluster: BTreeMap<String, Vec<Url>>,
}

/// Names of the files that `trireme keys` makes.
const PKI_FILES: [(&str, &str); 6] = [
    ("cert-file", "store-member.crt"),
    ("key-file", "store-member.key"),
    ("trusted-ca-file", "store-ca.crt"),
    ("peer-cert-file", "store-member.crt"),
    ("peer-key-file", "store-member.key"),
    ("peer-trusted-ca-file", "store-ca.crt"),
];

impl Options {
    /// Completes settings. `host` is the address under which this machine is reached, when it has one.
    ///
    /// # Errors
    /// When a value can't be read.
    pub fn new(mut settings: Settings, host: Option<&str>) -> Result<Self, Refusal> {
        let with_keys = settings.is_set("pki");
        expand_pki(&mut settings)?;
        // With keys, what isn't said is https.
        let scheme = if with_keys { Scheme::Https } else { Scheme::Http };
        let urls = |name: &str| -> Vec<Url> {
            let urls = settings.urls(name);
            if settings.is_set(name) || !with_keys {
                return urls;
            }
            urls.iter().map(|url| Url::of(scheme, url.host())).collect()
        };
        let (listen_client, listen_peer) = (urls("listen-client-urls"), urls("listen-peer-urls"));
        let advertised = |name: &str, listen: &[Url]| -> Vec<Url> {
            // etcd `UpdateDefaultClusterFromName`: nobody reaches 0.0.0.0.
            match (listen.first(), host) {
                (Some(first), Some(host)) if !settings.is_set(name) && first.hostname() == "0.0.0.0" => {
                    vec![Url::of(scheme, &format!("{host}:{}", first.port()))]
                }
                _ => urls(name),
            }
        };
        // A file's default stands even beside listeners; a command line's doesn't (etcd
        // `configFromCmdLine`).
        let missing = settings
            .source("listen-client-urls")
            .is_some_and(|source| source != Source::File)
            && !settings.is_set("advertise-client-urls");
        let advertise_client = (!missing).then(|| advertised("advertise-client-urls", &listen_client));
        let advertise_peer = advertised("initial-advertise-peer-urls", &listen_peer);
        let name = settings.text("name");
        let initial_cluster = initial_cluster(&settings, &name, with_keys, &advertise_peer)?;
        let data_dir = match settings.text("data-dir") {
            empty if empty.is_empty() => format!("{name}.etcd"),
            given => given,
        };
        Ok(Self {
            listen_client,
            listen_client_http: settings.urls("listen-client-http-urls"),
            listen_metrics: settings.urls("listen-metrics-urls"),
            listen_peer,
            advertise_client,
            advertise_peer,
            initial_cluster,
            name,
            data_dir: data_dir.into(),
            settings,
        })
    }

    /// Refuses what etcd can do and this can't; tells what has no effect.
    ///
    /// # Errors
    /// When a flag is set to something that would silently not be done.
    pub fn check_supported(&self) -> Result<Vec<String>, Refusal> {
        let mut remarks = self.settings.remarks().to_vec();
        for (flag, value) in self.settings.iter() {
            if *value == flag.default_value() {
                continue;
            }
            match flag.standing {
                Standing::Refused(reason) => {
                    return Err(Refusal(format!("--{} is not supported: {reason}", flag.name)));
                }
                Standing::Idle(reason) => remarks.push(format!("--{} has no effect: {reason}", flag.name)),
                _ => {}
            }
        }
        if self.settings.gate("LeaseCheckpoint") {
            remarks.push(
                "feature gate LeaseCheckpoint has no effect: a new leader gives every lease its whole time"
                    .to_owned(),
            );
        }
        Ok(remarks)
    }
}

/// etcd makes up the default: `NAME` at the advertised URLs, but only for a name that isn't the default.
fn initial_cluster(
    settings: &Settings,
    name: &str,
    with_keys: bool,
    advertise_peer: &[Url],
) -> Result<BTreeMap<String, Vec<Url>>, Refusal> {
    let text = if settings.is_set("initial-cluster") {
        settings.text("initial-cluster")
    } else if with_keys || name != "default" || !settings.is_set("initial-advertise-peer-urls") {
        let own: Vec<String> = advertise_peer.iter().map(|url| format!("{name}={url}")).collect();
        own.join(",")
    } else {
        settings.text("initial-cluster")
    };
    let mut cluster: BTreeMap<String, Vec<Url>> = BTreeMap::new();
    for member in text.split(',').filter(|member| !member.is_empty()) {
        let (name, url) = member.split_once('=').unwrap_or((member, ""));
        let url = Url::parse(url.trim())
            .map_err(|reason| Refusal(format!("error setting up initial cluster: {reason}")))?;
        cluster.entry(name.to_owned()).or_default().push(url);
    }
    cluster.values_mut().for_each(|urls| urls.sort());
    Ok(cluster)
}

/// A folder of keys stands for the files in it; what is said about a file counts more.
fn expand_pki(settings: &mut Settings) -> Result<(), Refusal> {
    if !settings.is_set("pki") {
        return Ok(());
    }
    let folder = PathBuf::from(settings.text("pki"));
    let mut put = |name: &str, value: &str| {
        let flag = catalogue::find(name).expect("these are flags, which a test proves");
        if settings.is_set(name) {
            return Ok(());
        }
        settings.set(flag, value, Source::Flag).map_err(Refusal)
    };
    for (name, file) in PKI_FILES {
        put(name, &folder.join(file).to_string_lossy())?;
    }
    put("client-cert-auth", "true")?;
    put("peer-client-cert-auth", "true")
}
