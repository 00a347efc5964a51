//! A pod's streams, as paths of its node's agent.

use super::Target;
use super::backend::Backend;
use crate::state::State;
use crate::verbs::fetch;
use apiserver_core::request_info::{query_pairs, query_value, truthy};
use apiserver_core::{ApiError, FieldError, FieldPath, RequestInfo, tree};
use serde_json::Value;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

async fn fetch_built_in(
    state: &State,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Value, ApiError> {
    let registry = state.registry();
    let resource = registry
        .lookup("", "v1", resource)
        .ok_or_else(ApiError::path_not_found)?;
    fetch(state, resource, namespace, name).await
}

pub(super) async fn node_backend(state: &State, node: &str) -> Result<Backend, ApiError> {
    Backend::of_node(&fetch_built_in(state, "nodes", "", node).await?)
}

/// exec, attach and portforward.
pub(super) async fn stream(state: &State, info: &RequestInfo, query: &str) -> Result<Target, ApiError> {
    let pod = fetch_built_in(state, "pods", &info.namespace, &info.name).await?;
    let node = tree::text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            info.name
        )));
    }
    let (namespace, name) = (encode(&info.namespace), encode(&info.name));
    if info.subresource == "portforward" {
        let ports: Vec<String> = query_pairs(query)
            .filter(|(key, _)| key == "ports")
            .map(|(_, ports)| format!("port={}", encode(&ports)))
            .collect();
        let path = join_query(&format!("/portForward/{namespace}/{name}"), &ports);
        return Ok(Target {
            backend: node_backend(state, node).await?,
            path_and_query: path,
        });
    }
    let phase = tree::text(&pod, &["status", "phase"]);
    if matches!(phase, "Succeeded" | "Failed") {
        let doing = if info.subresource == "exec" {
            "exec into"
        } else {
            "attach to"
        };
        return Err(ApiError::bad_request(format!(
            "cannot {doing} a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = container(&pod, query)?;
    let mut params = Vec::new();
    let wants = |name: &str| query_value(query, name).is_some_and(|value| truthy(&value));
    for (wanted, param) in [
        ("stdin", "input=1"),
        ("stdout", "output=1"),
        ("stderr", "error=1"),
        ("tty", "tty=1"),
    ] {
        // With a terminal there is no separate stderr.
        if wants(wanted) && !(wanted == "stderr" && wants("tty")) {
            params.push(param.to_owned());
        }
    }
    if params.iter().all(|param| param == "tty=1") {
        return Err(ApiError::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    if info.subresource == "exec" {
        let command: Vec<String> = query_pairs(query)
            .filter(|(key, _)| key == "command")
            .map(|(_, word)| format!("command={}", encode(&word)))
            .collect();
        if command.is_empty() {
            return Err(ApiError::bad_request(
                "you must specify at least one command for the container",
            ));
        }
        params.extend(command);
    }
    let path = join_query(
        &format!("/{}/{namespace}/{name}/{}", info.subresource, encode(&container)),
        &params,
    );
    Ok(Target {
        backend: node_backend(state, node).await?,
        path_and_query: path,
    })
}

/// The logs; `None` for a pod without a node.
pub(super) async fn log(state: &State, info: &RequestInfo, query: &str) -> Result<Option<Target>, ApiError> {
    let pod = fetch_built_in(state, "pods", &info.namespace, &info.name).await?;
    let mut params = Vec::new();
    let mut errors = Vec::new();
    for (key, value) in query_pairs(query) {
        match key.as_str() {
            "follow" | "previous" | "timestamps" if truthy(&value) => params.push(format!("{key}=true")),
            "tailLines" | "sinceSeconds" | "limitBytes" => {
                let lowest = if key == "tailLines" { 0 } else { 1 };
                match value.parse::<i64>() {
                    Ok(number) if number >= lowest => params.push(format!("{key}={number}")),
                    Ok(number) if lowest == 0 => errors.push(FieldError::invalid(
                        &FieldPath::new(&key),
                        number,
                        "must be greater than or equal to 0",
                    )),
                    Ok(number) => {
                        errors.push(FieldError::invalid(
                            &FieldPath::new(&key),
                            number,
                            "must be greater than 0",
                        ));
                    }
                    Err(_) => return Err(ApiError::bad_request(format!("{key}: {value:?} is not a number"))),
                }
            }
            "sinceTime" | "stream" => params.push(format!("{key}={}", encode(&value))),
            _ => {}
        }
    }
    if params.iter().any(|param| param.starts_with("sinceSeconds="))
        && params.iter().any(|param| param.starts_with("sinceTime="))
    {
        let path = FieldPath::new("sinceSeconds");
        errors.push(FieldError::forbidden(
            &path,
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", &info.name, &errors));
    }
    let container = container(&pod, query)?;
    let node = tree::text(&pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return Ok(None);
    }
    let path = format!(
        "/containerLogs/{}/{}/{}",
        encode(&info.namespace),
        encode(&info.name),
        encode(&container)
    );
    Ok(Some(Target {
        backend: node_backend(state, node).await?,
        path_and_query: join_query(&path, &params),
    }))
}

/// The asked container, or the only one, or the one that the pod's annotation names.
fn container(pod: &Value, query: &str) -> Result<String, ApiError> {
    let pod_name = tree::name(pod);
    let named = |field: &str| -> Vec<&str> {
        tree::list(pod, &["spec", field])
            .iter()
            .map(|container| tree::text(container, &["name"]))
            .collect()
    };
    let containers = named("containers");
    let asked = query_value(query, "container").unwrap_or_default();
    if asked.is_empty() {
        if let [only] = containers.as_slice() {
            return Ok((*only).to_owned());
        }
        if let Some(default) =
            tree::annotation(pod, DEFAULT_CONTAINER).filter(|name| containers.contains(name))
        {
            return Ok(default.to_owned());
        }
        let mut text = format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            containers.join(" ")
        );
        let inits = named("initContainers");
        if !inits.is_empty() {
            text.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
        }
        return Err(ApiError::bad_request(text));
    }
    let known = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .any(|field| named(field).contains(&asked.as_str()));
    if known {
        Ok(asked)
    } else {
        Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {pod_name}"
        )))
    }
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn join_query(path: &str, params: &[String]) -> String {
    if params.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", params.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::container;
    use serde_json::json;

    #[test]
    fn a_container_must_be_named_when_there_are_several() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "").expect("the only one"), "a");
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(
            container(&two, "").expect_err("ambiguous").message,
            "a container name must be specified for pod p, choose one of: [a b]"
        );
        assert_eq!(container(&two, "container=b").expect("named"), "b");
        assert!(container(&two, "container=c").is_err());
    }
}
