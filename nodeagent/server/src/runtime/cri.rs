//! The CRI over a unix socket.

use super::{
    ContainerUsage, ExecOutput, ImageInfo, PodSummary, RegistryAuth, Result, Runtime, RuntimeError,
    RuntimeHealth, StreamOptions, convert,
};
use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use nodeagent_core::{ContainerConfig, LinuxResources, PodObservation, SandboxConfig, label};
use proto::cri;
use proto::cri::image_service_client::ImageServiceClient;
use proto::cri::runtime_service_client::RuntimeServiceClient;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Log entries of `ExecSync` and image lists may be large; upstream allows 16 MiB.
const MAX_MESSAGE: usize = 16 << 20;
/// For what is not expected to take long. Pulls and stops have their own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const PULL_TIMEOUT: Duration = Duration::from_secs(1800);

/// A runtime that serves the CRI.
#[derive(Clone)]
pub struct CriRuntime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl CriRuntime {
    /// Connects at the first request, and again after a failure.
    pub fn new(socket: &Path) -> Self {
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel =
            Endpoint::from(Uri::from_static("http://runtime.invalid")).connect_with_connector_lazy(connector);
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
        }
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }
}

fn request<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

fn soon<T>(message: T) -> tonic::Request<T> {
    request(message, REQUEST_TIMEOUT)
}

fn error(status: tonic::Status) -> RuntimeError {
    let message = status.message().to_owned();
    match status.code() {
        tonic::Code::NotFound => RuntimeError::NotFound(message),
        tonic::Code::Unavailable => RuntimeError::Unavailable(message),
        tonic::Code::DeadlineExceeded => RuntimeError::TimedOut,
        tonic::Code::Unknown if message.contains("transport error") => RuntimeError::Unavailable(message),
        _ => RuntimeError::Failed(message),
    }
}

/// Fine when the thing is gone already.
fn gone_is_fine<T>(result: std::result::Result<T, tonic::Status>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        Err(status) => Err(error(status)),
    }
}

#[async_trait]
impl Runtime for CriRuntime {
    async fn health(&self) -> Result<RuntimeHealth> {
        let version = self
            .runtime()
            .version(soon(cri::VersionRequest::default()))
            .await
            .map_err(error)?
            .into_inner();
        let status = self
            .runtime()
            .status(soon(cri::StatusRequest::default()))
            .await
            .map_err(error)?
            .into_inner();
        let conditions = status.status.unwrap_or_default().conditions;
        let find = |name: &str| conditions.iter().find(|c| c.r#type == name);
        if let Some(bad) = find("RuntimeReady").filter(|c| !c.status) {
            return Err(RuntimeError::Unavailable(bad.message.clone()));
        }
        let network = find("NetworkReady");
        Ok(RuntimeHealth {
            name: version.runtime_name,
            version: version.runtime_version,
            network_ready: network.is_none_or(|c| c.status),
            message: network
                .filter(|c| !c.status)
                .map(|c| {
                    format!(
                        "container runtime network not ready: NetworkReady=false reason:{} message:{}",
                        c.reason, c.message
                    )
                })
                .unwrap_or_default(),
        })
    }

    async fn list_pods(&self) -> Result<BTreeMap<String, PodSummary>> {
        let sandboxes = self
            .runtime()
            .list_pod_sandbox(soon(cri::ListPodSandboxRequest::default()))
            .await
            .map_err(error)?
            .into_inner()
            .items;
        let containers = self
            .runtime()
            .list_containers(soon(cri::ListContainersRequest::default()))
            .await
            .map_err(error)?
            .into_inner()
            .containers;
        let mut pods: BTreeMap<String, PodSummary> = BTreeMap::new();
        let mut place = |labels: &HashMap<String, String>, put: &mut dyn FnMut(&mut PodSummary)| {
            let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
            let uid = get(label::POD_UID);
            if uid.is_empty() {
                return;
            }
            let pod = pods.entry(uid).or_insert_with(|| PodSummary {
                namespace: get(label::POD_NAMESPACE),
                name: get(label::POD_NAME),
                ..PodSummary::default()
            });
            put(pod);
        };
        for sandbox in sandboxes {
            let ready = sandbox.state == i32::from(cri::PodSandboxState::SandboxReady);
            place(&sandbox.labels, &mut |pod| {
                pod.sandboxes.insert(sandbox.id.clone(), ready);
            });
        }
        for container in containers {
            let state = convert::container_state(container.state);
            place(&container.labels, &mut |pod| {
                pod.containers.insert(container.id.clone(), state);
            });
        }
        Ok(pods)
    }

    async fn observe(&self, pod_uid: &str) -> Result<PodObservation> {
        let selector = HashMap::from([(label::POD_UID.to_owned(), pod_uid.to_owned())]);
        let mut observation = PodObservation::default();
        let sandboxes = self
            .runtime()
            .list_pod_sandbox(soon(cri::ListPodSandboxRequest {
                filter: Some(cri::PodSandboxFilter {
                    label_selector: selector.clone(),
                    ..Default::default()
                }),
            }))
            .await
            .map_err(error)?
            .into_inner()
            .items;
        for sandbox in sandboxes {
            let message = cri::PodSandboxStatusRequest {
                pod_sandbox_id: sandbox.id,
                verbose: false,
            };
            match self.runtime().pod_sandbox_status(soon(message)).await {
                Ok(answer) => {
                    let status = answer.into_inner().status;
                    observation
                        .sandboxes
                        .extend(status.map(convert::observed_sandbox));
                }
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => return Err(error(status)),
            }
        }
        let containers = self
            .runtime()
            .list_containers(soon(cri::ListContainersRequest {
                filter: Some(cri::ContainerFilter {
                    label_selector: selector,
                    ..Default::default()
                }),
            }))
            .await
            .map_err(error)?
            .into_inner()
            .containers;
        for container in containers {
            let message = cri::ContainerStatusRequest {
                container_id: container.id,
                verbose: false,
            };
            match self.runtime().container_status(soon(message)).await {
                Ok(answer) => {
                    let status = answer.into_inner().status;
                    observation
                        .containers
                        .extend(status.map(|s| convert::observed_container(s, &container.pod_sandbox_id)));
                }
                Err(status) if status.code() == tonic::Code::NotFound => {}
                Err(status) => return Err(error(status)),
            }
        }
        Ok(observation)
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<String> {
        let message = cri::RunPodSandboxRequest {
            config: Some(convert::sandbox_config(config)),
            runtime_handler: config.runtime_handler.clone(),
        };
        let answer = self.runtime().run_pod_sandbox(soon(message)).await;
        Ok(answer.map_err(error)?.into_inner().pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let pod_sandbox_id = id.to_owned();
        let message = cri::StopPodSandboxRequest { pod_sandbox_id };
        gone_is_fine(self.runtime().stop_pod_sandbox(soon(message)).await)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let pod_sandbox_id = id.to_owned();
        let message = cri::RemovePodSandboxRequest { pod_sandbox_id };
        gone_is_fine(self.runtime().remove_pod_sandbox(soon(message)).await)
    }

    async fn sandbox_pid(&self, id: &str) -> Result<u32> {
        let message = cri::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        let answer = self.runtime().pod_sandbox_status(soon(message)).await;
        let info = answer.map_err(error)?.into_inner().info;
        info.get("info")
            .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
            .and_then(|value| value["pid"].as_u64())
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0)
            .ok_or_else(|| RuntimeError::NotFound(format!("sandbox {id} has no process")))
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: &ContainerConfig,
        sandbox: &SandboxConfig,
    ) -> Result<String> {
        let message = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(convert::container_config(config)),
            sandbox_config: Some(convert::sandbox_config(sandbox)),
        };
        let answer = self.runtime().create_container(soon(message)).await;
        Ok(answer.map_err(error)?.into_inner().container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let container_id = id.to_owned();
        let message = cri::StartContainerRequest { container_id };
        self.runtime()
            .start_container(soon(message))
            .await
            .map_err(error)?;
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<()> {
        let message = cri::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: grace_seconds,
        };
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        let message = request(message, grace.saturating_add(REQUEST_TIMEOUT));
        gone_is_fine(self.runtime().stop_container(message).await)
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let container_id = id.to_owned();
        let message = cri::RemoveContainerRequest { container_id };
        gone_is_fine(self.runtime().remove_container(soon(message)).await)
    }

    async fn update_resources(&self, id: &str, resources: &LinuxResources) -> Result<()> {
        let message = cri::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(convert::resources(resources)),
            ..Default::default()
        };
        let answer = self.runtime().update_container_resources(soon(message)).await;
        answer.map_err(error)?;
        Ok(())
    }

    async fn log_path(&self, id: &str) -> Result<String> {
        let message = cri::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let answer = self.runtime().container_status(soon(message)).await;
        let status = answer.map_err(error)?.into_inner().status;
        Ok(status.unwrap_or_default().log_path)
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        let container_id = id.to_owned();
        let message = cri::ReopenContainerLogRequest { container_id };
        let answer = self.runtime().reopen_container_log(soon(message)).await;
        answer.map_err(error)?;
        Ok(())
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        let message = cri::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            timeout: i64::try_from(timeout.as_secs().max(1)).unwrap_or(i64::MAX),
        };
        let answer = self
            .runtime()
            .exec_sync(request(message, timeout + Duration::from_secs(10)))
            .await
            .map_err(error)?
            .into_inner();
        Ok(ExecOutput {
            stdout: answer.stdout.to_vec(),
            stderr: answer.stderr.to_vec(),
            exit_code: answer.exit_code,
        })
    }

    async fn exec_url(&self, id: &str, command: &[String], options: &StreamOptions) -> Result<String> {
        let message = cri::ExecRequest {
            container_id: id.to_owned(),
            cmd: command.to_vec(),
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let answer = self.runtime().exec(soon(message)).await;
        Ok(answer.map_err(error)?.into_inner().url)
    }

    async fn attach_url(&self, id: &str, options: &StreamOptions) -> Result<String> {
        let message = cri::AttachRequest {
            container_id: id.to_owned(),
            stdin: options.stdin,
            tty: options.tty,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let answer = self.runtime().attach(soon(message)).await;
        Ok(answer.map_err(error)?.into_inner().url)
    }

    async fn image(&self, name: &str) -> Result<Option<ImageInfo>> {
        let message = cri::ImageStatusRequest {
            image: Some(convert::image_spec(name)),
            verbose: false,
        };
        let answer = self.images.clone().image_status(soon(message)).await;
        Ok(answer.map_err(error)?.into_inner().image.map(convert::image_info))
    }

    async fn pull_image(&self, name: &str, auth: Option<RegistryAuth>) -> Result<String> {
        let message = cri::PullImageRequest {
            image: Some(convert::image_spec(name)),
            auth: auth.map(|auth| cri::AuthConfig {
                username: auth.username,
                password: auth.password,
                identity_token: auth.identity_token,
                ..Default::default()
            }),
            sandbox_config: None,
        };
        let answer = self
            .images
            .clone()
            .pull_image(request(message, PULL_TIMEOUT))
            .await;
        Ok(answer.map_err(error)?.into_inner().image_ref)
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        let answer = self
            .images
            .clone()
            .list_images(soon(cri::ListImagesRequest::default()))
            .await
            .map_err(error)?;
        Ok(answer
            .into_inner()
            .images
            .into_iter()
            .map(convert::image_info)
            .collect())
    }

    async fn remove_image(&self, id: &str) -> Result<()> {
        let message = cri::RemoveImageRequest {
            image: Some(convert::image_spec(id)),
        };
        gone_is_fine(self.images.clone().remove_image(soon(message)).await)
    }

    async fn usage(&self) -> Result<Vec<ContainerUsage>> {
        let answer = self
            .runtime()
            .list_container_stats(soon(cri::ListContainerStatsRequest::default()))
            .await
            .map_err(error)?;
        Ok(answer
            .into_inner()
            .stats
            .into_iter()
            .map(convert::usage)
            .collect())
    }
}
