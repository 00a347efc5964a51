//! `--config-file`: the same settings in YAML, which then count alone (etcd `embed.ConfigFromFile`).
//!
//! Keys are flags' names, but for those of the two TLS sides, which are in groups of their own. Durations
//! are nanoseconds, as etcd writes them, or the flags' syntax.

use crate::catalogue;
use crate::flag::Kind;
use crate::options::Refusal;
use crate::settings::{Settings, Source};
use serde_yaml_ng::{Mapping, Value};

/// A key inside `client-transport-security` and `peer-transport-security`, and the flag of each side; empty
/// where a side has none.
const SECURITY: [(&str, &str, &str); 12] = [
    ("cert-file", "cert-file", "peer-cert-file"),
    ("key-file", "key-file", "peer-key-file"),
    ("client-cert-file", "client-cert-file", "peer-client-cert-file"),
    ("client-key-file", "client-key-file", "peer-client-key-file"),
    ("client-cert-auth", "client-cert-auth", "peer-client-cert-auth"),
    ("trusted-ca-file", "trusted-ca-file", "peer-trusted-ca-file"),
    ("auto-tls", "auto-tls", "peer-auto-tls"),
    ("allowed-cn", "client-cert-allowed-cn", "peer-cert-allowed-cn"),
    (
        "allowed-hostname",
        "client-cert-allowed-hostname",
        "peer-cert-allowed-hostname",
    ),
    ("crl-file", "client-crl-file", "peer-crl-file"),
    ("client-crl-file", "client-crl-file", "peer-crl-file"),
    (
        "skip-client-san-verification",
        "",
        "peer-skip-client-san-verification",
    ),
];

/// Reads settings out of a YAML text.
///
/// # Errors
/// When it isn't YAML, or a value can't be read.
pub fn parse(text: &str) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let root: Value = serde_yaml_ng::from_str(text)
        .map_err(|error| Refusal(format!("error unmarshaling YAML: {error}")))?;
    let root = match root {
        Value::Mapping(mapping) => mapping,
        Value::Null => Mapping::new(),
        _ => return Err(Refusal::new("error unmarshaling YAML: the file is no mapping")),
    };
    for (key, value) in &root {
        let Some(key) = key.as_str() else {
            return Err(Refusal(format!(
                "error unmarshaling YAML: a key is no text: {key:?}"
            )));
        };
        match key {
            "client-transport-security" | "peer-transport-security" => {
                security(key, value, &mut settings)?;
            }
            "socket-options" => {
                for (option, value) in entries(key, value)? {
                    put(&format!("socket-{option}"), value, &mut settings)?;
                }
            }
            "discovery-config" => {
                for (option, value) in entries(key, value)? {
                    let flag = if option.starts_with("discovery-") {
                        option.to_owned()
                    } else {
                        format!("discovery-{option}")
                    };
                    put(&flag, value, &mut settings)?;
                }
            }
            "config-file" | "version" => {}
            name => put(name, value, &mut settings)?,
        }
    }
    Ok(settings)
}

fn security(group: &str, value: &Value, settings: &mut Settings) -> Result<(), Refusal> {
    for (key, value) in entries(group, value)? {
        let flag = SECURITY
            .iter()
            .find(|(name, _, _)| *name == key)
            .map(|(_, client, peer)| {
                if group == "client-transport-security" {
                    *client
                } else {
                    *peer
                }
            })
            .filter(|flag| !flag.is_empty());
        match flag {
            Some(flag) => put(flag, value, settings)?,
            None => settings.remark(format!("{group}.{key} in the configuration file is unknown")),
        }
    }
    Ok(())
}

fn entries<'a>(group: &str, value: &'a Value) -> Result<Vec<(&'a str, &'a Value)>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Mapping(mapping) => Ok(mapping
            .iter()
            .filter_map(|(key, value)| Some((key.as_str()?, value)))
            .collect()),
        _ => Err(Refusal(format!("invalid {group}"))),
    }
}

fn put(name: &str, value: &Value, settings: &mut Settings) -> Result<(), Refusal> {
    let Some(flag) = catalogue::find(name) else {
        // etcd passes over them without a word.
        settings.remark(format!("{name} in the configuration file is unknown"));
        return Ok(());
    };
    let Some(text) = scalar(value, flag.kind) else {
        return Err(Refusal(format!(
            "error unmarshaling YAML: {name}: not what is expected there"
        )));
    };
    // An empty text is no text in etcd's file.
    if text.is_empty() {
        return Ok(());
    }
    settings
        .set(flag, &text, Source::File)
        .map_err(|reason| Refusal(format!("invalid value {text:?} for {name}: {reason}")))
}

/// A value in the syntax of a flag.
fn scalar(value: &Value, kind: Kind) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if kind == Kind::Duration => Some(format!("{number}ns")),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(items) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(words?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::value::Value;

    #[test]
    fn a_file_sets_what_flags_set() {
        let settings = parse(
            "name: m1\n\
             data-dir: /data\n\
             listen-client-urls: https://0.0.0.0:2379,https://0.0.0.0:2380\n\
             heartbeat-interval: 200\n\
             watch-progress-notify-interval: 5000000000\n\
             corrupt-check-time: 1m\n\
             strict-reconfig-check: false\n\
             log-outputs: [stderr, /tmp/log]\n\
             feature-gates: InitialCorruptCheck=true\n\
             client-transport-security:\n  cert-file: c.pem\n  key-file: k.pem\n  client-cert-auth: true\n  \
             allowed-hostname: [a, b]\n\
             peer-transport-security:\n  cert-file: p.pem\n  auto-tls: true\n\
             unheard-of: 1\n",
        )
        .expect("a good file");
        assert_eq!(settings.text("name"), "m1");
        assert_eq!(settings.urls("listen-client-urls").len(), 2);
        assert_eq!(settings.uint("heartbeat-interval"), 200);
        assert_eq!(
            settings.nanoseconds("watch-progress-notify-interval"),
            5_000_000_000
        );
        assert_eq!(
            settings.get("corrupt-check-time"),
            Value::Duration(60_000_000_000)
        );
        assert!(!settings.bool("strict-reconfig-check"));
        assert_eq!(settings.list("log-outputs"), ["/tmp/log", "stderr"]);
        assert!(settings.gate("InitialCorruptCheck"));
        assert_eq!(settings.text("cert-file"), "c.pem");
        assert!(settings.bool("client-cert-auth"));
        assert_eq!(settings.list("client-cert-allowed-hostname"), ["a", "b"]);
        assert_eq!(settings.text("peer-cert-file"), "p.pem");
        assert!(settings.bool("peer-auto-tls"));
        assert_eq!(settings.remarks().len(), 1, "{:?}", settings.remarks());
    }

    #[test]
    fn a_bad_file_is_refused_with_the_key() {
        let refusal = |text: &str| parse(text).expect_err("a bad file").to_string();
        assert_eq!(
            refusal("heartbeat-interval: soon"),
            "invalid value \"soon\" for heartbeat-interval: parse error"
        );
        assert_eq!(
            refusal("peer-transport-security: x"),
            "invalid peer-transport-security"
        );
        assert!(refusal("name: [").starts_with("error unmarshaling YAML"));
        assert!(parse("").is_ok());
    }
}
