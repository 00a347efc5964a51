//! Stock kubectl, as a user types it.

use crate::cluster::Cluster;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

async fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("kubectl")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", kubeconfig.parent().expect("a folder"))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("kubectl is installed");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_creates_shows_changes_and_deletes() {
    let cluster = Cluster::start().await;
    let kubeconfig = cluster.kubeconfig();
    let run = async |line: &str| {
        let arguments: Vec<&str> = line.split(' ').collect();
        let (ok, text) = kubectl(&kubeconfig, &arguments).await;
        assert!(ok, "kubectl {line}: {text}");
        text
    };
    assert!(run("get ns").await.contains("kube-system"));
    assert!(run("get svc").await.contains("10.96.0.1"));
    assert!(
        run("create deployment hw --image=registry/hello:1 --port=80")
            .await
            .contains("created")
    );
    assert!(run("get deploy hw").await.contains("0/1"));
    run("scale deploy hw --replicas=3").await;
    assert!(
        run("get deploy hw -o jsonpath={.spec.replicas}")
            .await
            .contains('3')
    );
    run("set image deploy/hw hello=registry/hello:2").await;
    assert!(
        run("get deploy hw -o jsonpath={.metadata.generation}")
            .await
            .contains('3')
    );
    assert!(
        run("expose deployment hw --type=NodePort")
            .await
            .contains("exposed")
    );
    let port: u16 = run("get svc hw -o jsonpath={.spec.ports[0].nodePort}")
        .await
        .parse()
        .expect("a port");
    assert!((30000..=32767).contains(&port));
    let manifest = cluster.folder().join("map.yaml");
    let write = |text: &str| std::fs::write(&manifest, text).expect("a manifest");
    write("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n");
    let apply = format!("apply -f {}", manifest.display());
    assert!(run(&apply).await.contains("created"));
    assert!(run(&apply).await.contains("unchanged"));
    write("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: c}\n");
    assert!(run(&apply).await.contains("configured"));
    assert!(
        run(&format!("{apply} --server-side --force-conflicts"))
            .await
            .contains("serverside-applied")
    );
    run("label cm app tier=front").await;
    run("annotate cm app note=x").await;
    for (kind, patch) in [
        ("merge", r#"{"data":{"m":"1"}}"#),
        ("strategic", r#"{"data":{"s":"1"}}"#),
        ("json", r#"[{"op":"add","path":"/data/j","value":"1"}]"#),
    ] {
        run(&format!("patch cm app --type={kind} -p {patch}")).await;
    }
    let data = run("get cm app -o jsonpath={.data}").await;
    assert!(
        ["\"m\"", "\"s\"", "\"j\""].iter().all(|key| data.contains(key)),
        "{data}"
    );
    assert!(run("get cm -l tier=front").await.contains("app"));
    assert!(run("auth can-i delete pods").await.contains("yes"));
    assert!(run("auth whoami").await.contains("kubernetes-admin"));
    assert!(run("explain deployment.spec.replicas").await.contains("integer"));
    assert!(run("api-resources").await.contains("endpointslices"));
    assert!(
        run("create job j --image=x --dry-run=server")
            .await
            .contains("dry run")
    );
    assert!(run("version").await.contains("v1.36.0"));
    assert!(run("delete cm app").await.contains("deleted"));
    let (ok, text) = kubectl(&kubeconfig, &["get", "cm", "app"]).await;
    assert!(!ok && text.contains("NotFound"), "{text}");
    let (ok, text) = kubectl(
        &kubeconfig,
        &[
            "create",
            "cm",
            "app",
            "--from-literal=a=b",
            "--dry-run=server",
            "-o",
            "yaml",
        ],
    )
    .await;
    assert!(ok && text.contains("uid:"), "{text}");
}
