//! The project's own images, packed from a program embedded in this binary, and loading of images into nodes.
//!
//! An image is an OCI layout in a tar archive, the same bytes every time: one gzip layer without times or
//! owners, a configuration, a manifest, an index whose annotations carry the name.

use crate::command;
use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::Path;

/// Compiled from `deploy/hello` by the build script; a static program.
const HELLO_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
const PROGRAM_PATH: &str = "hello";
/// The image of every pod's sandbox.
pub const PAUSE: &str = "localhost/trireme/pause:1";
/// Two versions that differ in what they answer, so that a rolling update can be watched.
const HELLO: [(&str, &str); 2] = [
    ("docker.io/trireme/hello:1", "1"),
    ("docker.io/trireme/hello:2", "2"),
];
/// containerd's namespace for images and containers of the CRI.
const CRI_NAMESPACE: &str = "k8s.io";

/// What one image is made of.
struct Image<'a> {
    name: &'a str,
    entrypoint: &'a [&'a str],
    environment: &'a [String],
    /// As in `80/tcp`.
    port: Option<&'a str>,
    stop_signal: Option<&'a str>,
}

/// Names of the images that [`builtin`] packs.
pub fn builtin_names() -> Vec<&'static str> {
    std::iter::once(PAUSE)
        .chain(HELLO.iter().map(|(name, _)| *name))
        .collect()
}

/// All built-in images as one archive: pause and hello.
///
/// # Errors
/// When packing fails, which means that memory is out.
pub fn builtin() -> anyhow::Result<Vec<u8>> {
    let versions =
        HELLO.map(|(name, version)| (name, [format!("HELLO_VERSION={version}"), "PATH=/bin".to_owned()]));
    let mut images = vec![Image {
        name: PAUSE,
        entrypoint: &["/hello", "pause"],
        environment: &[],
        port: None,
        stop_signal: None,
    }];
    images.extend(versions.iter().map(|(name, environment)| Image {
        name,
        entrypoint: &["/hello"],
        environment,
        port: Some("80/tcp"),
        stop_signal: Some("SIGTERM"),
    }));
    archive(&images)
}

/// Imports an archive (an OCI layout or what `docker save` writes) into the runtime behind `socket`.
///
/// # Errors
/// When the runtime refuses it.
pub fn import(socket: &Path, archive: &[u8]) -> anyhow::Result<()> {
    ctr(socket, &["images", "import", "-"], archive).map(drop)
}

/// Names of the images in the runtime behind `socket`, without those that are only digests.
///
/// # Errors
/// When the runtime doesn't answer.
pub fn list(socket: &Path) -> anyhow::Result<Vec<String>> {
    let text = ctr(socket, &["images", "ls", "-q"], &[])?;
    Ok(text
        .lines()
        .filter(|name| !name.starts_with("sha256:"))
        .map(str::to_owned)
        .collect())
}

fn ctr(socket: &Path, args: &[&str], input: &[u8]) -> anyhow::Result<String> {
    let socket = socket.to_string_lossy();
    let mut all = vec!["--address", &socket, "--namespace", CRI_NAMESPACE];
    all.extend(args);
    command::run_with_input("ctr", &all, input)
}

fn archive(images: &[Image<'_>]) -> anyhow::Result<Vec<u8>> {
    let layer = layer()?;
    let compressed = gzip(&layer)?;
    let mut files = vec![(
        "oci-layout".to_owned(),
        json!({"imageLayoutVersion": "1.0.0"}).to_string().into_bytes(),
    )];
    let mut manifests = Vec::new();
    for image in images {
        let config = config(image, &layer).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)],
        })
        .to_string()
        .into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        let tag = image.name.rsplit_once(':').context("an image name has a tag")?.1;
        entry["annotations"] = json!({
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": tag,
        });
        manifests.push(entry);
        files.push((blob_path(&config), config));
        files.push((blob_path(&manifest), manifest));
    }
    files.push((blob_path(&compressed), compressed));
    files.push((
        "index.json".to_owned(),
        json!({"schemaVersion": 2, "manifests": manifests})
            .to_string()
            .into_bytes(),
    ));
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in &files {
        append(&mut tar, path, content, 0o644)?;
    }
    Ok(tar.into_inner()?)
}

/// The root file system: the program, under the names that users try.
fn layer() -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["bin/", "etc/", "tmp/"] {
        let mut header = header(
            tar::EntryType::Directory,
            0,
            if folder == "tmp/" { 0o1777 } else { 0o755 },
        );
        tar.append_data(&mut header, folder, std::io::empty())?;
    }
    append(&mut tar, PROGRAM_PATH, HELLO_PROGRAM, 0o755)?;
    for name in ["bin/hello", "bin/sh"] {
        let mut header = header(tar::EntryType::Symlink, 0, 0o777);
        tar.append_link(&mut header, name, format!("/{PROGRAM_PATH}"))?;
    }
    Ok(tar.into_inner()?)
}

fn config(image: &Image<'_>, layer: &[u8]) -> Value {
    let mut inner = json!({"Entrypoint": image.entrypoint, "Env": image.environment, "WorkingDir": "/"});
    if let Some(port) = image.port {
        inner["ExposedPorts"] = json!({port: {}});
    }
    if let Some(signal) = image.stop_signal {
        inner["StopSignal"] = json!(signal);
    }
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    })
}

/// The platform's name in OCI's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut header = header(tar::EntryType::Regular, content.len() as u64, mode);
    Ok(tar.append_data(&mut header, path, content)?)
}

/// No time, no owner: the same content gives the same digest.
fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn blob_path(content: &[u8]) -> String {
    format!("blobs/sha256/{}", hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::{builtin, builtin_names, digest};
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::io::Read as _;

    #[test]
    fn the_archive_is_complete_and_the_same_every_time() {
        let archive = builtin().expect("packed");
        assert_eq!(archive, builtin().expect("packed again"));
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            files.insert(path, content);
        }
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(digest(content), path.replace("blobs/sha256/", "sha256:"));
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).expect("json");
        let names: Vec<&str> = index["manifests"]
            .as_array()
            .expect("manifests")
            .iter()
            .map(|m| {
                m["annotations"]["io.containerd.image.name"]
                    .as_str()
                    .expect("a name")
            })
            .collect();
        assert_eq!(names, builtin_names());
    }
}
