//! Names inside a pod: its host name, `/etc/hosts`, `/etc/resolv.conf`.
//!
//! Follows kubelet `pkg/kubelet/network/dns/dns.go` and `kubelet_pods.go` (`GeneratePodHostNameAndDomain`).

use crate::pod_model::PodModel;

const MAX_HOSTNAME: usize = 63;

/// The cluster's DNS and the node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Of the cluster's DNS service.
    pub cluster_servers: Vec<String>,
    /// e.g. `cluster.local`
    pub cluster_domain: String,
    /// The node's resolv.conf.
    pub node: ResolvConf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(str::to_owned)),
                Some("search") => conf.searches = words.map(str::to_owned).collect(),
                Some("options") => conf.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        conf
    }
}

/// What the pod's resolv.conf says, by `dnsPolicy` and `dnsConfig`.
pub fn resolv_conf(model: &PodModel, settings: &DnsSettings) -> ResolvConf {
    let spec = model.pod.spec.as_ref();
    let policy = spec
        .and_then(|s| s.dns_policy.as_deref())
        .unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !model.host_network(),
        _ => false,
    };
    let mut conf = if policy == "None" {
        ResolvConf::default()
    } else if cluster && !settings.cluster_servers.is_empty() {
        let domain = &settings.cluster_domain;
        let mut searches = vec![
            format!("{}.svc.{domain}", model.namespace),
            format!("svc.{domain}"),
            domain.clone(),
        ];
        searches.extend(settings.node.searches.iter().cloned());
        ResolvConf {
            servers: settings.cluster_servers.clone(),
            searches,
            options: vec!["ndots:5".to_owned()],
        }
    } else {
        settings.node.clone()
    };
    if let Some(own) = spec.and_then(|s| s.dns_config.as_ref()) {
        append_new(&mut conf.servers, own.nameservers.iter().flatten());
        append_new(&mut conf.searches, own.searches.iter().flatten());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            conf.options
                .retain(|o| o.split(':').next() != Some(name.as_str()));
            conf.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    conf
}

fn append_new<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// (host name, fully qualified name if the pod has a subdomain). The domain is `cluster.local` unless the
/// caller replaces it: see [`hosts_file`], which takes it as an argument.
pub fn hostname(model: &PodModel, node_name: &str) -> (String, Option<String>) {
    let spec = model.pod.spec.as_ref();
    if let Some(name) = spec.and_then(|s| s.hostname_override.clone()) {
        return (name, None);
    }
    if model.host_network() {
        return (node_name.to_owned(), None);
    }
    let mut name = spec
        .and_then(|s| s.hostname.clone())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| model.name.clone());
    name.truncate(MAX_HOSTNAME);
    let name = name.trim_end_matches(['-', '.']).to_owned();
    let subdomain = spec
        .and_then(|s| s.subdomain.as_deref())
        .filter(|s| !s.is_empty());
    let domain = subdomain.map(|s| format!("{s}.{}.svc", model.namespace));
    if spec.and_then(|s| s.set_hostname_as_fqdn) == Some(true)
        && let Some(domain) = &domain
    {
        return (format!("{name}.{domain}.cluster.local"), Some(domain.clone()));
    }
    (name, domain)
}

/// The contents of the pod's `/etc/hosts`.
pub fn hosts_file(model: &PodModel, pod_ips: &[String], node_name: &str, cluster_domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let (name, domain) = hostname(model, node_name);
    for ip in pod_ips {
        match &domain {
            Some(domain) => {
                let short = name.split('.').next().unwrap_or(&name);
                text.push_str(&format!("{ip}\t{short}.{domain}.{cluster_domain}\t{short}\n"));
            }
            None => text.push_str(&format!("{ip}\t{name}\n")),
        }
    }
    let aliases: Vec<_> = model
        .pod
        .spec
        .iter()
        .flat_map(|s| s.host_aliases.iter().flatten())
        .collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names: Vec<&str> = alias.hostnames.iter().flatten().map(String::as_str).collect();
        text.push_str(&format!("{}\t{}\n", alias.ip, names.join("\t")));
    }
    text
}
