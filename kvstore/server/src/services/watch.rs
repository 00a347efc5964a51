//! Watch: each client stream is served by a task of its own.

use super::{Shared, requires_leader};
use crate::watch::{StreamOptions, serve};
use proto::etcdserverpb::{WatchRequest, WatchResponse, watch_server};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Responses that wait for the client's connection; behind them the hub's own queue fills up.
const QUEUE: usize = 16;

/// etcd's Watch service.
#[derive(Clone)]
pub struct WatchService {
    shared: Shared,
}

impl WatchService {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl watch_server::Watch for WatchService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.shared.check_leader(&request)?;
        let options = StreamOptions {
            store: Arc::clone(&self.shared.store),
            consensus: self.shared.consensus.clone(),
            random: self.shared.random.clone(),
            progress_interval: self.shared.progress_interval,
            fragment_bytes: self.shared.max_request_bytes + (512 << 10),
            leader_patience: requires_leader(&request).then_some(self.shared.election * 3),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(serve(
            options,
            request.into_inner(),
            sender,
            self.shared.cancel.clone(),
        ));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
