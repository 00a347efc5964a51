//! A busybox image as an OCI archive, from the machine's static busybox.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// `localhost/test/busybox:1`, with links for all that the tests call.
pub fn write_busybox(target: &Path) {
    let layer = layer();
    let diff_id = digest(&layer);
    let config = json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let entry = |name: &str| -> Value {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"io.containerd.image.name": name});
        entry
    };
    let index = json!({
        "schemaVersion": 2,
        "manifests": [entry("localhost/test/busybox:1"), entry("localhost/trireme/pause:1")],
    })
    .to_string();
    let mut archive = tar::Builder::new(std::fs::File::create(target).expect("an archive"));
    let mut add = |path: String, data: &[u8]| append(&mut archive, &path, data, 0o644);
    add("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#);
    add("index.json".to_owned(), index.as_bytes());
    for blob in [&layer, &config, &manifest] {
        add(format!("blobs/sha256/{}", &digest(blob)[7..]), blob);
    }
    archive.finish().expect("an archive");
}

fn layer() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("a static busybox");
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "bin/busybox", &busybox, 0o755);
    for name in [
        "sh", "sleep", "cat", "echo", "wget", "nc", "ls", "env", "httpd", "id", "stty", "hostname", "tr",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer
            .append_link(&mut header, format!("bin/{name}"), "busybox")
            .expect("a link");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    header.set_cksum();
    layer
        .append_data(&mut header, "tmp/", std::io::empty())
        .expect("a directory");
    layer.into_inner().expect("a layer")
}

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, data: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    archive.append_data(&mut header, path, data).expect("an entry");
}

fn descriptor(media_type: &str, data: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(data), "size": data.len()})
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}
