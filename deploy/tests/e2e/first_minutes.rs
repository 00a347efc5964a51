//! What a new user types in the first minutes, in order, on one cluster: starting it again and again
//! would take longer than everything that is asked of it.

use crate::world::{Callers, World, get, has_words, text, wait};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

const HELLO: &str = "trireme/hello:1";

#[test]
fn a_new_user_meets_a_cluster_that_works() {
    let world = World::up("first", 1);
    let node = format!("{}-1", world.profile);
    the_cluster_is_there(&world, &node);
    a_deployment_says_hello(&world);
    a_rolling_update_loses_no_request(&world);
    one_looks_into_pods(&world);
    objects_are_changed_in_every_way(&world);
    configuration_reaches_containers(&world);
    rights_are_held(&world);
    a_node_is_emptied(&world, &node);
}

fn the_cluster_is_there(world: &World, node: &str) {
    assert!(has_words(
        &world.kubectl(&["get", "nodes", "--no-headers"]),
        &[node, "Ready"]
    ));
    assert_eq!(
        world.kubectl(&["config", "current-context"]).trim(),
        format!("trireme-{}", world.profile)
    );
    let services = world.kubectl(&["get", "services"]);
    assert!(
        has_words(&services, &["kubernetes", "ClusterIP", "10.96.0.1", "443/TCP"]),
        "{services}"
    );
    assert!(world.kubectl(&["cluster-info"]).contains("is running at"));
    assert!(world.kubectl(&["api-resources"]).contains("deployments"));
    assert!(
        world
            .kubectl(&["explain", "deployment.spec.replicas"])
            .contains("replicas")
    );
    assert!(
        world
            .kubectl(&["get", "all", "-A"])
            .contains("service/kubernetes")
    );
    let status: serde_json::Value =
        serde_json::from_str(&world.trireme(&["status", "-o", "json"])).expect("json");
    assert_eq!(status["state"], "healthy");
    // What is up stays up: the same command again finds nothing to do.
    world.trireme(&["up"]);
}

fn a_deployment_says_hello(world: &World) {
    world.kubectl(&[
        "create",
        "deployment",
        "hw",
        "--image",
        HELLO,
        "--port=80",
        "--replicas=2",
    ]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=120s"]);
    let pods = world.kubectl(&["get", "pods", "-o", "wide", "--no-headers", "-l", "app=hw"]);
    assert_eq!(
        pods.lines()
            .filter(|line| has_words(line, &["1/1", "Running"]))
            .count(),
        2,
        "{pods}"
    );
    assert!(
        world
            .kubectl(&["get", "deployments,rs"])
            .contains("deployment.apps/hw")
    );
    world.kubectl(&["expose", "deployment", "hw", "--type=NodePort"]);
    let url = world.url("hw");
    // The nodes' proxies learn of an endpoint a little later than the API.
    assert!(wait(|| get(&url).is_ok_and(|answer| answer.contains("version 1"))));
    world.kubectl(&["scale", "deployment/hw", "--replicas=3"]);
    world.kubectl(&[
        "wait",
        "deployment/hw",
        "--for=jsonpath={.status.readyReplicas}=3",
        "--timeout=120s",
    ]);
}

fn a_rolling_update_loses_no_request(world: &World) {
    let url = world.url("hw");
    let callers = Callers::start(&url);
    world.kubectl(&["set", "image", "deployment/hw", "hello=trireme/hello:2"]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=180s"]);
    assert!(wait(|| get(&url).is_ok_and(|answer| answer.contains("version 2"))));
    let (answers, failures) = callers.stop();
    assert!(
        failures.is_empty(),
        "{} of {answers} requests failed: {:?}",
        failures.len(),
        &failures[..1]
    );
    let history = world.kubectl(&["rollout", "history", "deployment/hw"]);
    assert!(history.lines().any(|line| line.starts_with('2')), "{history}");
    world.kubectl(&["rollout", "undo", "deployment/hw"]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=180s"]);
    assert!(wait(|| get(&url).is_ok_and(|answer| answer.contains("version 1"))));
}

fn one_looks_into_pods(world: &World) {
    world.kubectl(&["run", "look", "--image", HELLO, "--port=80"]);
    world.kubectl(&["wait", "pod/look", "--for=condition=Ready", "--timeout=120s"]);
    world.kubectl_until(&["logs", "look"], |logs| logs.contains("serving on port 80"));
    assert_eq!(
        world
            .kubectl(&["exec", "look", "--", "/hello", "print", "from", "inside"])
            .trim(),
        "from inside"
    );
    let mut failing = world.kubectl_command(&["exec", "look", "--", "sh", "-c", "exit 3"]);
    assert_eq!(failing.output().expect("kubectl").status.code(), Some(3));
    an_interactive_shell_answers(world);
    logs_are_followed(world);
    a_port_is_forwarded(world);
    let name = world.kubectl(&[
        "exec",
        "look",
        "--",
        "sh",
        "-c",
        "resolve hw.default.svc.cluster.local",
    ]);
    let ip = world.kubectl(&["get", "service", "hw", "-o", "jsonpath={.spec.clusterIP}"]);
    assert_eq!(name.trim(), ip.trim());
    assert!(
        world
            .kubectl(&["exec", "look", "--", "/hello", "get", "http://hw/"])
            .contains("Hello")
    );
    for what in [["pod", "look"], ["deployment", "hw"], ["service", "hw"]] {
        assert!(world.kubectl(&["describe", what[0], what[1]]).contains("Name:"));
    }
    world.kubectl_until(&["events"], |events| events.contains("Started"));
}

fn an_interactive_shell_answers(world: &World) {
    let mut shell = world
        .kubectl_command(&["exec", "-i", "look", "--", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    shell
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"hostname\nexit 0\n")
        .expect("written");
    let output = shell.wait_with_output().expect("kubectl");
    assert!(text(&output.stdout).contains("look"), "{}", text(&output.stdout));
}

fn logs_are_followed(world: &World) {
    let mut logs = world
        .kubectl_command(&["logs", "-f", "look"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines();
    world.kubectl(&["exec", "look", "--", "/hello", "get", "http://127.0.0.1/followed"]);
    let seen = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("/followed"));
    logs.kill().expect("ended");
    logs.wait().expect("collected");
    assert!(seen, "the request was not seen in the logs");
}

fn a_port_is_forwarded(world: &World) {
    let mut forward = world
        .kubectl_command(&["port-forward", "pod/look", ":80"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut lines = BufReader::new(forward.stdout.take().expect("a pipe")).lines();
    // Forwarding from 127.0.0.1:PORT -> 80
    let line = lines.next().expect("a line").expect("text");
    let address = line.split_whitespace().nth(2).expect("an address").to_owned();
    let answer = get(&format!("http://{address}/"));
    forward.kill().expect("ended");
    forward.wait().expect("collected");
    assert!(
        answer.as_ref().is_ok_and(|answer| answer.contains("look")),
        "{answer:?}"
    );
}

fn objects_are_changed_in_every_way(world: &World) {
    world.kubectl(&["label", "pod", "look", "tier=front"]);
    world.kubectl(&["annotate", "pod", "look", "note=seen"]);
    assert!(
        world
            .kubectl(&["get", "pods", "-l", "tier=front", "-o", "name"])
            .contains("pod/look")
    );
    let patch = |kind: &str, body: &str| {
        world.kubectl(&["patch", "deployment", "hw", "--type", kind, "-p", body]);
    };
    patch("strategic", r#"{"metadata":{"labels":{"a":"1"}}}"#);
    patch("merge", r#"{"metadata":{"labels":{"b":"2"}}}"#);
    patch(
        "json",
        r#"[{"op":"add","path":"/metadata/labels/c","value":"3"}]"#,
    );
    let labels = world.kubectl(&["get", "deployment", "hw", "-o", "jsonpath={.metadata.labels}"]);
    assert!(
        ["\"a\":\"1\"", "\"b\":\"2\"", "\"c\":\"3\""]
            .iter()
            .all(|l| labels.contains(l)),
        "{labels}"
    );

    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {key: one}\n";
    assert!(world.apply(manifest, &[]).contains("created"));
    assert!(world.apply(manifest, &[]).contains("unchanged"));
    assert!(
        world
            .apply(&manifest.replace("one", "two"), &[])
            .contains("configured")
    );
    world.kubectl(&["delete", "configmap", "applied"]);
    world.apply(manifest, &["--server-side"]);
    let conflict = world.file("other.yaml", &manifest.replace("one", "three"));
    let said = world.kubectl_refused(&[
        "apply",
        "--server-side",
        "--field-manager=other",
        "-f",
        &conflict.to_string_lossy(),
    ]);
    assert!(said.contains("conflict"), "{said}");
    let typo = world.file("typo.yaml", &manifest.replace("\ndata:", "\ndta:"));
    let said = world.kubectl_refused(&["apply", "-f", &typo.to_string_lossy()]);
    assert!(said.contains("unknown field"), "{said}");
    assert!(
        world
            .kubectl_refused(&["get", "configmap", "absent"])
            .contains("NotFound")
    );
}

fn configuration_reaches_containers(world: &World) {
    world.kubectl(&["create", "configmap", "settings", "--from-literal=COLOUR=blue"]);
    world.kubectl(&[
        "create",
        "secret",
        "generic",
        "password",
        "--from-literal=word=open",
    ]);
    world.apply(
        "apiVersion: v1\n\
         kind: Pod\n\
         metadata: {name: configured}\n\
         spec:\n\
         \x20 containers:\n\
         \x20 - name: main\n\
         \x20   image: trireme/hello:1\n\
         \x20   args: [wait]\n\
         \x20   envFrom: [{configMapRef: {name: settings}}]\n\
         \x20   env: [{name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}]\n\
         \x20   volumeMounts: [{name: s, mountPath: /secret}, {name: c, mountPath: /config}]\n\
         \x20 volumes:\n\
         \x20 - {name: s, secret: {secretName: password}}\n\
         \x20 - {name: c, configMap: {name: settings}}\n",
        &[],
    );
    world.kubectl(&[
        "wait",
        "pod/configured",
        "--for=condition=Ready",
        "--timeout=120s",
    ]);
    let seen = world.kubectl(&[
        "exec",
        "configured",
        "--",
        "sh",
        "-c",
        "env; cat /secret/word /config/COLOUR",
    ]);
    for wanted in ["COLOUR=blue", "WORD=open", "openblue"] {
        assert!(seen.contains(wanted), "{wanted} is missing: {seen}");
    }
    world.kubectl(&["delete", "pod", "configured"]);
}

fn rights_are_held(world: &World) {
    assert_eq!(world.kubectl(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    assert!(world.kubectl(&["auth", "whoami"]).contains("kubernetes-admin"));
    world.kubectl(&["create", "serviceaccount", "reader"]);
    world.kubectl_until(&["get", "serviceaccount", "reader"], |_| true);
    let token = world.kubectl(&["create", "token", "reader"]);
    let pods = |token: Option<&str>| api_status(world, "/api/v1/namespaces/default/pods", token);
    assert_eq!(pods(None), 401);
    assert_eq!(pods(Some("nonsense")), 401);
    assert_eq!(pods(Some(token.trim())), 403);
    world.kubectl(&[
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    ]);
    assert!(wait(|| pods(Some(token.trim())) == 200));
    assert_eq!(
        api_status(
            world,
            "/api/v1/namespaces/kube-system/secrets",
            Some(token.trim())
        ),
        403
    );
}

/// HTTP status of a request with curl, as a user without kubectl makes it.
fn api_status(world: &World, path: &str, token: Option<&str>) -> u16 {
    let server = world.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let mut curl = std::process::Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    if let Some(token) = token {
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = curl
        .arg(format!("{}{path}", server.trim()))
        .output()
        .expect("curl");
    text(&output.stdout).parse().expect("an HTTP status")
}

fn a_node_is_emptied(world: &World, node: &str) {
    assert!(world.kubectl(&["describe", "node", node]).contains("Allocatable"));
    world.kubectl(&["cordon", node]);
    assert!(
        world
            .kubectl(&["get", "node", node])
            .contains("SchedulingDisabled")
    );
    world.kubectl(&[
        "drain",
        node,
        "--force",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=120s",
    ]);
    let pods = world.kubectl(&[
        "get",
        "pods",
        "--no-headers",
        "--field-selector=status.phase=Running",
    ]);
    assert!(pods.is_empty(), "{pods}");
    world.kubectl(&["uncordon", node]);
    world.kubectl(&["rollout", "status", "deployment/hw", "--timeout=120s"]);
    world.kubectl(&["delete", "deployment,service", "hw"]);
    world.kubectl_until(&["get", "pods", "--no-headers"], |pods| !pods.contains("hw-"));
}
