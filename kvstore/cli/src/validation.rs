//! What etcd refuses before it starts, in its order and its words (`embed.Config.Validate`,
//! `embed.configureClientListeners`, `config.ServerConfig.VerifyBootstrap`; 3.6 to 3.8).

use crate::options::{Options, Refusal};
use crate::settings::{Settings, Source};
use crate::url::{Scheme, Url};
use std::collections::{BTreeMap, BTreeSet};

/// The longest election time-out, in milliseconds.
const MAX_ELECTION: u64 = 50_000;

/// Checks what can be checked without the data folder.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(options: &Options) -> Result<(), Refusal> {
    let settings = &options.settings;
    logging(settings)?;
    let listeners = [
        &options.listen_peer,
        &options.listen_client,
        &options.listen_client_http,
        &options.listen_metrics,
    ];
    for url in listeners.into_iter().flatten() {
        url.check_bind().map_err(Refusal)?;
    }
    advertised(options)?;
    bootstrap_flags(settings)?;
    timing(settings)?;
    if options.advertise_client.is_none() {
        return refuse("--advertise-client-urls is required when --listen-client-urls is set explicitly");
    }
    match settings.text("auto-compaction-mode").as_str() {
        "periodic" | "revision" => {}
        "" => return refuse("undefined auto-compaction-mode"),
        other => return refuse(format!("unknown auto-compaction-mode {other:?}")),
    }
    if settings.gate("LeaseCheckpointPersist") && !settings.gate("LeaseCheckpoint") {
        return refuse(
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        );
    }
    if settings.nanoseconds("compact-hash-check-time") <= 0 {
        return refuse(format!(
            "--compact-hash-check-time must be >0 (set to {}s)",
            settings.nanoseconds("compact-hash-check-time") / 1_000_000_000
        ));
    }
    tls_versions(settings)?;
    tls_files(options)
}

fn refuse<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(text.into()))
}

fn logging(settings: &Settings) -> Result<(), Refusal> {
    match settings.text("logger").as_str() {
        "zap" => {}
        "capnslog" => return refuse("--logger=capnslog is removed in v3.5"),
        other => return refuse(format!("unknown logger option {other:?}")),
    }
    let outputs = settings.list("log-outputs");
    if outputs.len() > 1 && outputs.iter().any(|output| output == "default") {
        return refuse("multi logoutput for \"default\" is not supported yet");
    }
    let level = settings.text("log-level");
    if !matches!(
        level.to_ascii_lowercase().as_str(),
        "debug" | "info" | "warn" | "error" | "dpanic" | "panic" | "fatal"
    ) {
        return refuse(format!("unrecognized level: {level:?}"));
    }
    let format = settings.text("log-format");
    if !matches!(format.as_str(), "" | "json" | "console") {
        return refuse(format!(
            "unknown log format: {format}, supported values json, console"
        ));
    }
    Ok(())
}

fn advertised(options: &Options) -> Result<(), Refusal> {
    let check = |urls: &[Url]| urls.iter().try_for_each(Url::check_host);
    if let Err(reason) = check(&options.advertise_peer) {
        return refuse(format!(
            "--initial-advertise-peer-urls {:?} must be \"host:port\" ({reason})",
            join(&options.advertise_peer)
        ));
    }
    let clients = options.advertise_client.as_deref().unwrap_or_default();
    if let Err(reason) = check(clients) {
        return refuse(format!(
            "--advertise-client-urls {:?} must be in the format \"host:port\", \"unix:/path/to/socket\" or \
             \"unixs:/path/to/socket\" ({reason})",
            join(clients)
        ));
    }
    Ok(())
}

fn bootstrap_flags(settings: &Settings) -> Result<(), Refusal> {
    let endpoints = settings.list("discovery-endpoints");
    let (dns, v3) = (!settings.text("discovery-srv").is_empty(), !endpoints.is_empty());
    let named = settings.is_set("initial-cluster") && !settings.text("initial-cluster").is_empty();
    if [named, dns, v3].into_iter().filter(|set| *set).count() > 1 {
        return refuse(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        );
    }
    if settings.text("discovery-token").is_empty() == v3 {
        return refuse("both --discovery-token and --discovery-endpoints must be set");
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return refuse("--discovery-endpoints must not contain empty endpoints");
    }
    // In a file it is ignored, as etcd's own sample has it.
    let fallback = settings.source("discovery-fallback");
    if settings.text("discovery-fallback") == "proxy" && fallback.is_some_and(|source| source != Source::File)
    {
        return refuse("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
    }
    Ok(())
}

fn timing(settings: &Settings) -> Result<(), Refusal> {
    let (heartbeat, election) = (
        settings.uint("heartbeat-interval"),
        settings.uint("election-timeout"),
    );
    if heartbeat == 0 {
        return refuse("--heartbeat-interval must be >0 (set to 0ms)");
    }
    if election == 0 {
        return refuse("--election-timeout must be >0 (set to 0ms)");
    }
    if heartbeat.saturating_mul(5) > election {
        return refuse(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > MAX_ELECTION {
        return refuse(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {MAX_ELECTION}ms"
        ));
    }
    Ok(())
}

fn tls_versions(settings: &Settings) -> Result<(), Refusal> {
    let number = |name: &str| match settings.text(name).as_str() {
        "" => Ok(0),
        "TLS1.2" => Ok(12),
        "TLS1.3" => Ok(13),
        other => refuse(format!(
            "unexpected TLS version {other:?} (must be one of: TLS1.2, TLS1.3)"
        )),
    };
    let (min, max) = (number("tls-min-version")?, number("tls-max-version")?);
    if max != 0 && min > max {
        return refuse(format!(
            "min version ({}) is greater than max version ({})",
            settings.text("tls-min-version"),
            settings.text("tls-max-version")
        ));
    }
    if min == 13 && !settings.list("cipher-suites").is_empty() {
        return refuse("cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    Ok(())
}

/// Which files there must be for the listeners.
fn tls_files(options: &Options) -> Result<(), Refusal> {
    let settings = &options.settings;
    for prefix in ["", "peer-"] {
        let file = |name: &str| settings.text(&format!("{prefix}{name}"));
        let (cert, key) = (file("cert-file"), file("key-file"));
        if cert.is_empty() != key.is_empty() {
            return refuse(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
            ));
        }
        let (cert, key) = (file("client-cert-file"), file("client-key-file"));
        if cert.is_empty() != key.is_empty() {
            return refuse(format!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: {cert}]"
            ));
        }
    }
    for prefix in ["client", "peer"] {
        let names = settings.list(&format!("{prefix}-cert-allowed-cn"));
        let hosts = settings.list(&format!("{prefix}-cert-allowed-hostname"));
        if !names.is_empty() && !hosts.is_empty() {
            return refuse(format!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
                quoted(&names),
                quoted(&hosts)
            ));
        }
    }
    let bare = |file: &str, auto: &str| settings.text(file).is_empty() && !settings.bool(auto);
    if bare("cert-file", "auto-tls") {
        let mut clients = options.listen_client.iter().chain(&options.listen_client_http);
        if let Some(url) = clients.find(|url| url.is_secure()) {
            return refuse(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
            ));
        }
        if options.listen_metrics.iter().any(Url::is_secure) {
            return refuse(
                "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
            );
        }
    }
    if bare("peer-cert-file", "peer-auto-tls")
        && let Some(url) = options.listen_peer.iter().find(|url| url.is_secure())
    {
        return refuse(format!(
            "cannot listen on TLS for {}: KeyFile and CertFile are not presented",
            url.host()
        ));
    }
    let addresses: BTreeSet<String> = options.listen_client.iter().map(Url::bind_address).collect();
    match options
        .listen_client_http
        .iter()
        .find(|url| addresses.contains(&url.bind_address()))
    {
        Some(url) => refuse(format!(
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}"
        )),
        None => Ok(()),
    }
}

/// A folder that etcd has its data in, `member/` of it, isn't one to begin with nothing in.
///
/// # Errors
/// When it is such a folder.
pub fn data_of_another(options: &Options) -> Result<(), Refusal> {
    let folder = &options.data_dir;
    if !folder.join("member").exists() {
        return Ok(());
    }
    refuse(format!(
        "--data-dir {0} holds the data of an etcd member, which can't be opened: restore a snapshot that etcd saved, \
         or {0}/member/snap/db with --skip-hash-check, into another folder (`snapshot restore`)",
        folder.display()
    ))
}

/// What must be true of the initial cluster when it isn't there yet. `resolve` gives the addresses of a
/// `host:port`, in order.
///
/// # Errors
/// When this member has no place in it.
pub fn bootstrap(
    options: &Options,
    resolve: impl Fn(&str) -> std::io::Result<Vec<String>>,
) -> Result<(), Refusal> {
    let (name, cluster) = (&options.name, &options.initial_cluster);
    let Some(own) = cluster.get(name) else {
        return refuse(format!(
            "couldn't find local name {name:?} in the initial cluster configuration"
        ));
    };
    if options.settings.text("initial-cluster-state") == "new" {
        matching(name, own, &options.advertise_peer, resolve)?;
    }
    let mut seen = BTreeSet::new();
    if !cluster.values().flatten().all(|url| seen.insert(url)) {
        return refuse(format!("initial cluster {} has duplicate url", render(cluster)));
    }
    Ok(())
}

/// The URLs of this member in the cluster are those that it advertises, or lead to the same addresses.
fn matching(
    name: &str,
    own: &[Url],
    advertised: &[Url],
    resolve: impl Fn(&str) -> std::io::Result<Vec<String>>,
) -> Result<(), Refusal> {
    let missing = |from: &[Url], to: &[Url]| -> Vec<String> {
        from.iter()
            .filter(|url| !to.contains(url))
            .map(ToString::to_string)
            .collect()
    };
    let (unadvertised, unlisted) = (missing(own, advertised), missing(advertised, own));
    if unadvertised.is_empty() && unlisted.is_empty() {
        return Ok(());
    }
    let addresses = |urls: &[Url]| -> Result<Vec<(Scheme, Vec<String>)>, String> {
        let mut all = Vec::new();
        for url in urls {
            let found = if url.is_socket() {
                vec![url.host().to_owned()]
            } else {
                resolve(url.host()).map_err(|error| format!("failed to resolve {url} ({error})"))?
            };
            all.push((url.scheme(), found));
        }
        all.sort();
        Ok(all)
    };
    let reason = match (addresses(own), addresses(advertised)) {
        (Ok(own), Ok(advertised)) if own == advertised => return Ok(()),
        (Ok(_), Ok(_)) => "they lead to different addresses".to_owned(),
        (Err(reason), _) | (_, Err(reason)) => reason,
    };
    if !unadvertised.is_empty() {
        let listed: Vec<String> = unadvertised.iter().map(|url| format!("{name}={url}")).collect();
        return refuse(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({reason})",
            listed.join(","),
            join(advertised)
        ));
    }
    refuse(format!(
        "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
        unlisted.join(","),
        render(&BTreeMap::from([(name.to_owned(), advertised.to_vec())]))
    ))
}

fn render(cluster: &BTreeMap<String, Vec<Url>>) -> String {
    let pairs: Vec<String> = cluster
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
        .collect();
    pairs.join(",")
}

fn join(urls: &[Url]) -> String {
    let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// A list of words as Go's `%q` writes it.
fn quoted(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(" "))
}
