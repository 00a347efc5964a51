//! Environment variables: `env`, `envFrom`, services, and `$(NAME)` references.

use super::ConfigError;
use super::downward::{field_value, resource_value};
use crate::pod_model::{PodContainer, PodModel};
use k8s_openapi::api::core::v1::{ConfigMap, EnvVarSource, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Everything that environment variables are made from, fetched beforehand.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentSources {
    /// By name; all of the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
    /// See [`service_environment`].
    pub services: BTreeMap<String, String>,
    pub pod_ips: Vec<String>,
    pub host_ips: Vec<String>,
    pub allocatable: BTreeMap<String, Quantity>,
}

/// The container's variables in the order in which they were first named.
///
/// # Errors
/// A reference that is not optional and not there, or a field that does not exist.
pub fn environment(
    model: &PodModel,
    container: &PodContainer,
    sources: &EnvironmentSources,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut result = Variables::default();
    for from in container.spec.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(map) => result.extend(prefix, map.data.iter().flatten().map(|(k, v)| (k, v.clone()))),
                None => missing("configmap", &reference.name, reference.optional)?,
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(secret) => result.extend(
                    prefix,
                    secret
                        .data
                        .iter()
                        .flatten()
                        .map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned())),
                ),
                None => missing("secret", &reference.name, reference.optional)?,
            }
        }
    }
    for variable in container.spec.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(from)) => match from_source(model, container, from, sources)? {
                Some(value) => value,
                None => continue,
            },
            (Some(value), None) => expand(value, &|name| {
                result.get(name).or_else(|| sources.services.get(name)).cloned()
            }),
            (None, None) => String::new(),
        };
        result.set(variable.name.clone(), value);
    }
    // Services come last and never replace what the container says itself.
    for (name, value) in &sources.services {
        if result.get(name).is_none() {
            result.set(name.clone(), value.clone());
        }
    }
    Ok(result.0)
}

fn from_source(
    model: &PodModel,
    container: &PodContainer,
    from: &EnvVarSource,
    sources: &EnvironmentSources,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = &from.field_ref {
        return field_value(model, &field.field_path, &sources.pod_ips, &sources.host_ips).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return resource_value(model, resource, container.name(), &sources.allocatable).map(Some);
    }
    if let Some(reference) = &from.config_map_key_ref {
        let Some(map) = sources.config_maps.get(&reference.name) else {
            return missing("configmap", &reference.name, reference.optional).map(|()| None);
        };
        let value = map.data.as_ref().and_then(|d| d.get(&reference.key)).cloned();
        return keyed(
            model,
            "ConfigMap",
            &reference.name,
            &reference.key,
            reference.optional,
            value,
        );
    }
    if let Some(reference) = &from.secret_key_ref {
        let Some(secret) = sources.secrets.get(&reference.name) else {
            return missing("secret", &reference.name, reference.optional).map(|()| None);
        };
        let value = secret.data.as_ref().and_then(|d| d.get(&reference.key));
        let value = value.map(|v| String::from_utf8_lossy(&v.0).into_owned());
        return keyed(
            model,
            "Secret",
            &reference.name,
            &reference.key,
            reference.optional,
            value,
        );
    }
    Err(ConfigError::Invalid("unsupported env value source".to_owned()))
}

fn missing(kind: &'static str, name: &str, optional: Option<bool>) -> Result<(), ConfigError> {
    if optional == Some(true) {
        return Ok(());
    }
    Err(ConfigError::NotFound {
        kind,
        name: name.to_owned(),
    })
}

fn keyed(
    model: &PodModel,
    kind: &'static str,
    name: &str,
    key: &str,
    optional: Option<bool>,
    value: Option<String>,
) -> Result<Option<String>, ConfigError> {
    if value.is_none() && optional != Some(true) {
        return Err(ConfigError::KeyMissing {
            kind,
            namespace: model.namespace.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
        });
    }
    Ok(value)
}

#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&String> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(existing) => existing.1 = value,
            None => self.0.push((name, value)),
        }
    }

    fn extend<'a>(&mut self, prefix: &str, pairs: impl Iterator<Item = (&'a String, String)>) {
        for (key, value) in pairs {
            self.set(format!("{prefix}{key}"), value);
        }
    }
}

/// Replaces `$(NAME)`; `$$` is a literal `$`, and what is not known stays as it is written
/// (`third_party/forked/golang/expansion`).
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => result.push_str(&value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = after;
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

/// `<NAME>_SERVICE_HOST` and friends for the services that a pod of `namespace` sees: `kubernetes` of the
/// default namespace always, its own namespace's with service links (`pkg/kubelet/envvars`).
pub fn service_environment<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut result = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let master = of == "default" && name == "kubernetes";
        if !(master || links && of == namespace) {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let ip = spec.cluster_ip.as_deref().unwrap_or_default();
        if ip.is_empty() || ip == "None" {
            continue;
        }
        let upper = name.to_uppercase().replace('-', "_");
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".to_owned());
        result.insert(format!("{upper}_SERVICE_HOST"), ip.to_owned());
        result.insert(format!("{upper}_SERVICE_PORT"), first.port.to_string());
        let url = |port: i32, proto: &str| format!("{}://{ip}:{port}", proto.to_lowercase());
        result.insert(
            format!("{upper}_PORT"),
            url(first.port, &protocol(&first.protocol)),
        );
        for port in ports {
            let proto = protocol(&port.protocol);
            if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let suffix = port_name.to_uppercase().replace('-', "_");
                result.insert(format!("{upper}_SERVICE_PORT_{suffix}"), port.port.to_string());
            }
            let prefix = format!("{upper}_PORT_{}_{}", port.port, proto.to_uppercase());
            result.insert(prefix.clone(), url(port.port, &proto));
            result.insert(format!("{prefix}_PROTO"), proto.to_lowercase());
            result.insert(format!("{prefix}_PORT"), port.port.to_string());
            result.insert(format!("{prefix}_ADDR"), ip.to_owned());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_expand_and_dollars_escape() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expand("x$(A)y", &lookup), "x1y");
        assert_eq!(expand("$$(A) $(B) $A $", &lookup), "$(A) $(B) $A $");
    }
}
