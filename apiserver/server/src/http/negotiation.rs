//! What the client wants back: an encoding and a view of the object.
//!
//! Follows apiserver/pkg/endpoints/handlers/negotiation: clauses by quality, then by order; a clause that
//! asks for a view the resource doesn't have is passed over.

use http::HeaderMap;
use http::header::ACCEPT;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    PrettyJson,
    Yaml,
    Protobuf,
}

impl Encoding {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::PrettyJson => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// The shape in which objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    /// `meta.k8s.io` of this version.
    Table(&'static str),
    PartialMetadata(&'static str),
    /// Aggregated discovery of this version.
    Discovery(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub encoding: Encoding,
    pub view: View,
}

struct Clause<'a> {
    media_type: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }
}

/// The best encoding and view, or `None` for 406. `views` says whether tables and partial metadata exist here.
pub(crate) fn negotiate(headers: &HeaderMap, views: bool, pretty: bool) -> Option<Accepted> {
    negotiate_any(headers, pretty, |clause_as, group, version| {
        match (clause_as, group, version) {
            ("Table", "meta.k8s.io", "v1") if views => Some(View::Table("v1")),
            ("Table", "meta.k8s.io", "v1beta1") if views => Some(View::Table("v1beta1")),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") if views => {
                Some(View::PartialMetadata("v1"))
            }
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1beta1") if views => {
                Some(View::PartialMetadata("v1beta1"))
            }
            _ => None,
        }
    })
}

/// As [`negotiate`], with the caller's choice of views by (`as`, `g`, `v`).
pub(crate) fn negotiate_any(
    headers: &HeaderMap,
    pretty: bool,
    view_of: impl Fn(&str, &str, &str) -> Option<View>,
) -> Option<Accepted> {
    let joined = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    let json = if pretty {
        Encoding::PrettyJson
    } else {
        Encoding::Json
    };
    if joined.trim().is_empty() {
        return Some(Accepted {
            encoding: json,
            view: View::Object,
        });
    }
    let mut clauses: Vec<Clause<'_>> = joined.split(',').filter_map(parse_clause).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    // JSON is what we hold; protobuf is made only for clients that take nothing else.
    let mut protobuf = None;
    for clause in &clauses {
        let encoding = match clause.media_type {
            "application/json" | "application/*" | "*/*" => json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
            _ => continue,
        };
        let view = match clause.param("as") {
            None => View::Object,
            Some(wanted) => {
                let (group, version) = (clause.param("g").unwrap_or(""), clause.param("v").unwrap_or(""));
                match view_of(wanted, group, version) {
                    Some(view) => view,
                    None => continue,
                }
            }
        };
        let accepted = Accepted { encoding, view };
        if encoding == Encoding::Protobuf {
            protobuf = protobuf.or(Some(accepted));
        } else {
            return Some(accepted);
        }
    }
    protobuf
}

fn parse_clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
    let mut clause = Clause {
        media_type,
        params: Vec::new(),
        quality: 1.0,
    };
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_matches('"');
        if key == "q" {
            clause.quality = value.parse().unwrap_or(0.0);
        } else {
            clause.params.push((key, value));
        }
    }
    (clause.quality > 0.0).then_some(clause)
}

#[cfg(test)]
mod tests {
    use super::{Accepted, Encoding, View, negotiate};
    use http::{HeaderMap, HeaderValue};

    fn accept(text: &'static str, views: bool) -> Option<Accepted> {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static(text));
        negotiate(&headers, views, false)
    }

    #[test]
    fn the_first_clause_that_can_be_met_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accept(table, true).map(|a| a.view), Some(View::Table("v1")));
        assert_eq!(accept(table, false).map(|a| a.view), Some(View::Object));
        assert_eq!(
            accept("application/json;as=Table;v=v1;g=meta.k8s.io", false),
            None
        );
        let both = accept("application/vnd.kubernetes.protobuf,application/json", true);
        assert_eq!(both.map(|a| a.encoding), Some(Encoding::Json));
        let only = accept("application/vnd.kubernetes.protobuf", true);
        assert_eq!(only.map(|a| a.encoding), Some(Encoding::Protobuf));
        assert_eq!(accept("text/html", true), None);
        assert_eq!(
            accept("text/html, */*;q=0.1", true).map(|a| a.encoding),
            Some(Encoding::Json)
        );
    }
}
