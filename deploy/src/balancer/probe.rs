//! Asks an API server again and again whether it is ready.

use super::backends::Backends;
use http::Request;
use kubeclient::{ClientConfig, Credentials};
use std::sync::Arc;
use std::time::Duration;
use support::Env;
use support::tls::ClientTls;
use tokio::time::{sleep, timeout};

/// So soon after the last answer the next question is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// An API server takes up to two seconds to find its store silent; the client finds a connection dead after four.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server that is alive may take to say hello.
const HELLO: Duration = Duration::from_secs(2);
/// Anybody may ask it.
const PATH: &str = "/readyz";

/// Asks one server.
pub struct Prober {
    client: kube::Client,
    env: Env,
    tls: ClientTls,
    backends: Arc<Backends>,
    number: usize,
}

impl Prober {
    /// One who is nobody to the server.
    ///
    /// # Errors
    /// When the authority's certificate can't be used.
    pub fn new(env: &Env, ca_pem: &str, backends: &Arc<Backends>, number: usize) -> anyhow::Result<Self> {
        let config = ClientConfig {
            servers: vec![backends.address(number).to_owned()],
            ca_pem: Some(ca_pem.to_owned()),
            credentials: Credentials::Anonymous,
            user_agent: "trireme-balancer".to_owned(),
        };
        Ok(Self {
            client: kubeclient::client(env, &config)?,
            env: env.clone(),
            tls: ClientTls::new(ca_pem, None)?,
            backends: Arc::clone(backends),
            number,
        })
    }

    /// Asks for ever.
    pub async fn run(self) {
        loop {
            match timeout(PATIENCE, self.ask()).await {
                Ok(Ok(())) => self.backends.answered(self.number, true),
                // An answer, whatever it says.
                Ok(Err(kube::Error::Api(_))) => self.backends.answered(self.number, false),
                Ok(Err(_)) | Err(_) if self.is_silent().await => self.backends.silent(self.number),
                Ok(Err(_)) | Err(_) => self.backends.refused(self.number),
            }
            sleep(INTERVAL).await;
        }
    }

    async fn ask(&self) -> kube::Result<()> {
        let request = Request::get(PATH)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await.map(drop)
    }

    /// Whether nobody says hello. A refusal is a word, too.
    async fn is_silent(&self) -> bool {
        let address = self.backends.address(self.number);
        let hello = async {
            let stream = self.env.net.connect(address).await?;
            self.tls.connect(address, stream).await.map(drop)
        };
        timeout(HELLO, hello).await.is_err()
    }
}
