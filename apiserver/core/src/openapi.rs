//! OpenAPI documents: v3 by group-version, v2 in one piece, as JSON and in the protobuf form of v2.
//!
//! The shapes come from the schema tables of `kubeschema` (merge keys, list types, kinds) and from the JSON schemas
//! of `k8s-openapi` (types and descriptions); those of custom resources from their definitions. [`OpenApi`] makes
//! each document when it is first asked for, and keeps only compressed bytes: the trees are far larger.
//!
//! The hash of a v3 document is made from what it depends on, not from its bytes, so that the index costs nothing.
//!
//! Follows `k8s.io/kube-openapi` (builder, builder3, handler, handler3) as clients see it (1.36).

mod definitions;
mod gnostic;
mod parameters;
mod rest;
mod v2;
mod v3;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::GroupVersionKind;
use crate::discovery::{Catalog, CatalogVersion, Document};

/// The content type of [`OpenApi::v2_protobuf`].
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// JSON schemas (`openAPIV3Schema`) of custom kinds; kinds without an entry are free-form.
pub type CustomSchemas = BTreeMap<GroupVersionKind, Value>;

/// A document, compressed.
#[derive(Debug, PartialEq, Eq)]
pub struct Compressed {
    /// for clients that accept gzip
    pub gzip: Vec<u8>,
    /// quoted
    pub etag: String,
}

impl Compressed {
    fn new(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        // Writing into a vector cannot fail.
        let gzip = encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        let etag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&gzip)));
        Self { gzip, etag }
    }

    /// The document itself, for clients that do not accept gzip.
    pub fn plain(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.gzip.len() * 8);
        match GzDecoder::new(self.gzip.as_slice()).read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

/// One group-version's document.
#[derive(Debug)]
struct Entry {
    group: String,
    version: String,
    hash: String,
    document: OnceLock<Arc<Compressed>>,
}

/// All documents of one set of served resources. Made again, by [`OpenApi::changed`], when that set changes.
#[derive(Debug)]
pub struct OpenApi {
    catalog: Catalog,
    custom: CustomSchemas,
    /// by path below `/openapi/v3/`
    entries: BTreeMap<String, Entry>,
    v2: OnceLock<Arc<Compressed>>,
    v2_protobuf: OnceLock<Arc<Compressed>>,
}

impl OpenApi {
    pub fn new(catalog: Catalog, custom: CustomSchemas) -> Self {
        let mut entries = BTreeMap::new();
        for group in &catalog.groups {
            for version in &group.versions {
                entries.insert(
                    path_of(&group.name, &version.version),
                    Entry {
                        group: group.name.clone(),
                        version: version.version.clone(),
                        hash: hash_of(&group.name, version, &custom),
                        document: OnceLock::new(),
                    },
                );
            }
        }
        Self {
            catalog,
            custom,
            entries,
            v2: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
        }
    }

    /// The documents of a changed set; those that stayed the same are taken over.
    pub fn changed(&self, catalog: Catalog, custom: CustomSchemas) -> Self {
        let new = Self::new(catalog, custom);
        for (path, entry) in &new.entries {
            if let Some(old) = self.entries.get(path)
                && old.hash == entry.hash
                && let Some(document) = old.document.get()
            {
                let _ = entry.document.set(document.clone());
            }
        }
        new
    }

    /// `GET /openapi/v3`
    pub fn v3_index(&self) -> Document {
        let paths: Map<String, Value> = self
            .entries
            .iter()
            .map(|(path, entry)| {
                let url = format!("/openapi/v3/{path}?hash={}", entry.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        Document::new(&json!({"paths": paths}))
    }

    /// The current hash of a document. A request with another one is redirected to it (301); a request with it may
    /// be cached for good (`Cache-Control: public, immutable`).
    pub fn v3_hash(&self, path: &str) -> Option<&str> {
        self.entries.get(path).map(|entry| entry.hash.as_str())
    }

    /// `GET /openapi/v3/PATH`, where PATH is `api/v1` or `apis/G/V`. JSON.
    pub fn v3(&self, path: &str) -> Option<Arc<Compressed>> {
        let entry = self.entries.get(path)?;
        let document = entry.document.get_or_init(|| {
            let version = self.version(&entry.group, &entry.version);
            let value = v3::document(version, &self.custom);
            Arc::new(Compressed::new(value.to_string().as_bytes()))
        });
        Some(document.clone())
    }

    fn version(&self, group: &str, version: &str) -> Option<&CatalogVersion> {
        let group = self.catalog.groups.iter().find(|g| g.name == group)?;
        group.versions.iter().find(|v| v.version == version)
    }

    /// `GET /openapi/v2`. JSON.
    pub fn v2(&self) -> Arc<Compressed> {
        let document = self.v2.get_or_init(|| {
            let value = v2::document(&self.catalog, &self.custom);
            Arc::new(Compressed::new(value.to_string().as_bytes()))
        });
        document.clone()
    }

    /// `GET /openapi/v2` as [`V2_PROTOBUF`].
    pub fn v2_protobuf(&self) -> Arc<Compressed> {
        let document = self.v2_protobuf.get_or_init(|| {
            let value = v2::document(&self.catalog, &self.custom);
            Arc::new(Compressed::new(&gnostic::encode(&value)))
        });
        document.clone()
    }
}

/// `api/v1`, `apis/apps/v1`
fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

fn hash_of(group: &str, version: &CatalogVersion, custom: &CustomSchemas) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for resource in &version.resources {
        hasher.update(format!(
            "\n{group}/{}/{}",
            resource.gvr.version, resource.gvr.resource
        ));
        for sub in &resource.subresources {
            hasher.update(format!(",{}", sub.name));
        }
        if let Some(schema) = custom.get(&resource.gvk()) {
            hasher.update(schema.to_string());
        }
    }
    hex::encode_upper(hasher.finalize())
}

#[cfg(test)]
mod tests;
