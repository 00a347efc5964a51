//! The forms of names: why a text is no DNS label, no label key and so on.
//!
//! Each function returns the reasons in upstream's words; an empty list means the text is fine. Follows
//! `apimachinery/pkg/util/validation/validation.go` and `pkg/api/validation/name.go` (1.36).

/// Longest DNS-1123 and DNS-1035 label, in bytes.
pub const LABEL_MAX: usize = 63;
/// Longest DNS-1123 subdomain, in bytes.
pub const SUBDOMAIN_MAX: usize = 253;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

fn max_len(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn with_example(message: &str, examples: &[&str], regex: &str) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    let examples = examples.join(", or ");
    // Upstream: "(e.g. 'a',  or 'b', regex used for validation is '...')"
    format!(
        "{message} (e.g. {}, regex used for validation is '{regex}')",
        examples.replace(", or ", ",  or ")
    )
}

fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|c| lower_alnum(*c) || *c == b'-')
        && lower_alnum(bytes[0])
        && lower_alnum(bytes[bytes.len() - 1])
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

/// A prefix of a generated name may end with a dash: the suffix follows.
fn masked(name: &str, prefix: bool) -> std::borrow::Cow<'_, str> {
    match name.strip_suffix('-') {
        Some(start) if prefix && name.len() > 1 => format!("{start}a").into(),
        _ => name.into(),
    }
}

/// `a-b.c`, at most 253 bytes.
pub fn dns1123_subdomain(name: &str, prefix: bool) -> Vec<String> {
    let name = masked(name, prefix);
    let mut why = Vec::new();
    if name.len() > SUBDOMAIN_MAX {
        why.push(max_len(SUBDOMAIN_MAX));
    }
    if !name.split('.').all(is_label) {
        why.push(with_example(
            SUBDOMAIN,
            &["example.com"],
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
        ));
    }
    why
}

/// `a-b`, at most 63 bytes.
pub fn dns1123_label(name: &str, prefix: bool) -> Vec<String> {
    let name = masked(name, prefix);
    let mut why = Vec::new();
    if name.len() > LABEL_MAX {
        why.push(max_len(LABEL_MAX));
    }
    if !is_label(&name) {
        if name.split('.').all(is_label) {
            why.push("must not contain dots".to_owned());
        } else {
            why.push(with_example(
                LABEL,
                &["my-name", "123-abc"],
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            ));
        }
    }
    why
}

/// As [`dns1123_label`], and starts with a letter.
pub fn dns1035_label(name: &str, prefix: bool) -> Vec<String> {
    let name = masked(name, prefix);
    let mut why = Vec::new();
    if name.len() > LABEL_MAX {
        why.push(max_len(LABEL_MAX));
    }
    if !(is_label(&name) && name.as_bytes()[0].is_ascii_lowercase()) {
        why.push(with_example(
            LABEL_1035,
            &["my-name", "abc-123"],
            "[a-z]([-a-z0-9]*[a-z0-9])?",
        ));
    }
    why
}

/// Anything that can stand as one part of a URL path (names of RBAC objects and others).
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    let mut why = Vec::new();
    if !prefix && (name == "." || name == "..") {
        why.push(format!("may not be '{name}'"));
    }
    for part in ["/", "%"] {
        if name.contains(part) {
            why.push(format!("may not contain '{part}'"));
        }
    }
    why
}

/// A label or annotation key, a finalizer: `name` or `prefix/name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let example = |message: &str| {
        with_example(
            message,
            &["MyName", "my.name", "123-abc"],
            "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
        )
    };
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                why.push("prefix part must be non-empty".to_owned());
            } else {
                why.extend(
                    dns1123_subdomain(prefix, false)
                        .into_iter()
                        .map(|reason| format!("prefix part {reason}")),
                );
            }
            *name
        }
        _ => {
            why.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                example(QUALIFIED)
            ));
            return why;
        }
    };
    if name.is_empty() {
        why.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        why.push(format!("name part {}", max_len(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        why.push(format!("name part {}", example(QUALIFIED)));
    }
    why
}

/// A label value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.len() > LABEL_MAX {
        why.push(max_len(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        why.push(with_example(
            LABEL_VALUE,
            &["MyValue", "my_value", "12345"],
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
        ));
    }
    why
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        why.push(max_len(SUBDOMAIN_MAX));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
    {
        why.push(with_example(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            &["key.name", "KEY_NAME", "key-name"],
            "[-._a-zA-Z0-9]+",
        ));
    }
    why.extend(no_dots(text));
    why
}

fn no_dots(text: &str) -> Option<String> {
    match text {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        text if text.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of an environment variable. Any printable ASCII without `=` has been allowed since 1.34.
pub fn env_var_name(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.is_empty() || !text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'=') {
        why.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    why
}

/// A named port of a pod: `http`, at most 15 bytes.
pub fn port_name(text: &str) -> Vec<String> {
    let mut why = Vec::new();
    if text.len() > 15 {
        why.push("must be no more than 15 characters".to_owned());
    }
    if !text.bytes().all(|c| lower_alnum(c) || c == b'-') {
        why.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|c| c.is_ascii_lowercase()) {
        why.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        why.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        why.push("must not begin or end with a hyphen".to_owned());
    }
    why
}

/// A port number.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}

/// The 27 characters of generated names: no vowels and nothing that reads as another character.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Names are cut so that base and suffix fit a DNS label.
const GENERATED_BASE_MAX: usize = 58;

/// A generated name: the base, cut to fit, and five characters chosen by `random`.
pub fn generate(base: &str, random: [u8; 5]) -> String {
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    name.push_str(&suffix(random));
    name
}

/// Five characters for a generated name.
pub fn suffix(random: [u8; 5]) -> String {
    random
        .iter()
        .map(|byte| char::from(SUFFIX_ALPHABET[usize::from(*byte) % SUFFIX_ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_upstream() {
        type Check = fn(&str) -> Vec<String>;
        let cases: [(Check, &[&str], &[&str]); 6] = [
            (
                |s| dns1123_subdomain(s, false),
                &["a", "a-b.c", "1.2"],
                &["", "A", "a_b", "-a", "a-", "a..b", "a."],
            ),
            (
                |s| dns1123_label(s, false),
                &["a", "0a", "a-b"],
                &["", "A", "a.b", "a-", "-a"],
            ),
            (|s| dns1035_label(s, false), &["a", "a-1"], &["1a", "", "a."]),
            (
                qualified_name,
                &["a", "A_b", "x.io/Y"],
                &["", "/a", "a/", "a/b/c", "X/y", "-a"],
            ),
            (label_value, &["", "a", "A.b_c-1"], &["a b", "-a", "a-"]),
            (config_map_key, &["a", "a.b", "A_"], &["", "..", "..a", "a b"]),
        ];
        for (check, good, bad) in cases {
            for text in good {
                assert_eq!(check(text), Vec::<String>::new(), "{text}");
            }
            for text in bad {
                assert!(!check(text).is_empty(), "{text:?}");
            }
        }
        assert!(!dns1123_label(&"a".repeat(64), false).is_empty());
        assert!(dns1123_subdomain("abc-", true).is_empty());
    }

    #[test]
    fn reasons_read_as_upstream() {
        assert_eq!(
            dns1123_label("X", false),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
              and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(
            dns1123_subdomain("X", false),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
              must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }

    #[test]
    fn generated_names_fit_a_label() {
        assert_eq!(generate("web-", [0, 1, 2, 26, 27]), "web-bcd9b");
        assert_eq!(generate(&"a".repeat(80), [0; 5]).len(), 63);
    }
}
