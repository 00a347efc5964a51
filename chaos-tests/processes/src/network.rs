//! Real sockets to places that are called by name, as the simulation's clients call them.

use crate::places::address;
use async_trait::async_trait;
use std::io;
use std::net::IpAddr;
use support::tls::ClientTls;
use support::{BoxedIo, Listener, Network, TokioNetwork};

/// Where the store listens for clients, in every world.
const STORE: &str = "2379";

/// Finds `store-2:2379` where its namespace is; addresses stay what they are.
pub struct Named {
    /// Of the places, by their numbers.
    pub names: Vec<&'static str>,
    /// What the store's clients show it, where it wants TLS: recorders speak plainly and know nothing of it.
    pub store_tls: Option<ClientTls>,
}

#[async_trait]
impl Network for Named {
    async fn connect(&self, target: &str) -> io::Result<BoxedIo> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("nobody is called {target}"));
        let (name, port) = target.rsplit_once(':').ok_or_else(unknown)?;
        if name.parse::<IpAddr>().is_ok() {
            return TokioNetwork.connect(target).await;
        }
        let place = self.names.iter().position(|known| *known == name);
        let found = format!("{}:{port}", address(place.ok_or_else(unknown)?));
        let stream = TokioNetwork.connect(&found).await?;
        match &self.store_tls {
            Some(tls) if port == STORE => tls.connect(&found, stream).await,
            _ => Ok(stream),
        }
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address).await
    }
}
