//! Real sockets to members that are called by name, as the simulation's clients call them.

use crate::places::address;
use async_trait::async_trait;
use chaos_store::MEMBER_NAMES;
use std::io;
use support::{BoxedIo, Listener, Network, TokioNetwork};

/// Finds `store-2:2379` where its namespace is.
pub struct Named;

#[async_trait]
impl Network for Named {
    async fn connect(&self, target: &str) -> io::Result<BoxedIo> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("nobody is called {target}"));
        let (name, port) = target.rsplit_once(':').ok_or_else(unknown)?;
        let member = MEMBER_NAMES.iter().position(|member| *member == name);
        let member = member.ok_or_else(unknown)?;
        TokioNetwork.connect(&format!("{}:{port}", address(member))).await
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address).await
    }
}
