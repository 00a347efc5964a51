//! Unary calls to the store.

use super::endpoints::Endpoints;
use super::{Codec, StoreError};
use crate::config::StoreConfig;
use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response as OpResponse;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, StatusRequest, TxnRequest, TxnResponse,
};
use std::time::Duration;
use support::{Env, Sabotage};
use tokio::sync::OnceCell;
use tonic::transport::Channel;

/// Range responses hold whole pages of objects of up to 1.5 MiB.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// A key with its value in the clear, and the revision that wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub key: Bytes,
    pub value: Bytes,
    pub mod_revision: i64,
    /// The lease the key hangs on, 0 for none.
    pub lease: i64,
}

/// A page of a range at one revision.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub items: Vec<Stored>,
    /// The store's revision when the page was read (not the pinned one).
    pub revision: i64,
    /// Keys in the whole range asked for, this page included.
    pub count: i64,
}

/// A guarded write's outcome.
#[derive(Debug, Clone)]
pub(crate) enum Put {
    Done {
        revision: i64,
    },
    /// The guard failed; what is there instead, if anything.
    Conflict(Option<Stored>),
}

/// The store's calls, over whichever member answers.
pub(crate) struct StoreClient {
    pub(super) endpoints: Endpoints,
    pub(super) codec: Codec,
    progress: OnceCell<bool>,
    sabotage: Sabotage,
}

impl StoreClient {
    pub(crate) fn new(config: &StoreConfig, env: &Env) -> Self {
        Self {
            endpoints: Endpoints::new(config, env),
            codec: Codec::new(config.encryption_key.as_ref(), env.random.clone()),
            progress: OnceCell::new(),
            sabotage: env.sabotage,
        }
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        let (response, _) = self
            .endpoints
            .attempt(|channel| {
                let request = request.clone();
                async move { kv(channel).range(request).await }
            })
            .await?;
        Ok(response)
    }

    async fn txn(&self, request: TxnRequest) -> Result<(TxnResponse, bool), StoreError> {
        self.endpoints
            .attempt(|channel| {
                let request = request.clone();
                async move { kv(channel).txn(request).await }
            })
            .await
    }

    /// The value of one key, linearizable.
    pub(crate) async fn get(&self, key: &str) -> Result<(Option<Stored>, i64), StoreError> {
        let response = self
            .range(RangeRequest {
                key: bytes_of(key),
                ..Default::default()
            })
            .await?;
        let revision = revision_of(response.header.as_ref());
        let stored = response
            .kvs
            .into_iter()
            .next()
            .map(|kv| self.codec.open(kv))
            .transpose()?;
        Ok((stored, revision))
    }

    /// The store's revision now, confirmed by its quorum.
    pub(crate) async fn current_revision(&self) -> Result<i64, StoreError> {
        let request = RangeRequest {
            key: Bytes::from_static(b"/registry/health"),
            count_only: true,
            ..Default::default()
        };
        Ok(revision_of(self.range(request).await?.header.as_ref()))
    }

    /// Up to `limit` (0: all) keys in `[start, end)` as of `revision` (0: now).
    pub(crate) async fn list(
        &self,
        start: &[u8],
        end: &[u8],
        limit: i64,
        revision: i64,
    ) -> Result<Page, StoreError> {
        let response = self
            .range(RangeRequest {
                key: Bytes::copy_from_slice(start),
                range_end: Bytes::copy_from_slice(end),
                limit,
                revision,
                ..Default::default()
            })
            .await?;
        let items = response
            .kvs
            .into_iter()
            .map(|kv| self.codec.open(kv))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page {
            items,
            revision: revision_of(response.header.as_ref()),
            count: response.count,
        })
    }

    /// The greatest `mod_revision` of any live key in `[start, end)` and the number of keys: enough to
    /// know whether a cache has seen everything, for stores without progress requests.
    pub(crate) async fn newest(&self, start: &[u8], end: &[u8]) -> Result<(i64, i64, i64), StoreError> {
        let response = self
            .range(RangeRequest {
                key: Bytes::copy_from_slice(start),
                range_end: Bytes::copy_from_slice(end),
                limit: 1,
                keys_only: true,
                sort_order: SortOrder::Descend.into(),
                sort_target: SortTarget::Mod.into(),
                ..Default::default()
            })
            .await?;
        let newest = response.kvs.first().map_or(0, |kv| kv.mod_revision);
        Ok((newest, response.count, revision_of(response.header.as_ref())))
    }

    /// Writes `value` if the key's `mod_revision` is `expected` (0: absent).
    ///
    /// When an attempt's fate is unknown it is repeated; finding exactly our bytes behind the failed guard
    /// then means that the first attempt was applied.
    pub(crate) async fn put(
        &self,
        key: &str,
        value: &[u8],
        expected: i64,
        lease: i64,
    ) -> Result<Put, StoreError> {
        let sealed = self.codec.seal(key, value);
        let put = PutRequest {
            key: bytes_of(key),
            value: sealed.clone(),
            lease,
            ..Default::default()
        };
        let mut request = guarded(key, expected, Op::RequestPut(put));
        if self.sabotage.is("unguarded-write") {
            request.compare.clear();
        }
        let (response, retried) = self.txn(request).await?;
        let revision = revision_of(response.header.as_ref());
        if response.succeeded {
            return Ok(Put::Done { revision });
        }
        let found = found_instead(response);
        match found {
            Some(kv) if retried && kv.value == sealed => Ok(Put::Done {
                revision: kv.mod_revision,
            }),
            found => Ok(Put::Conflict(found.map(|kv| self.codec.open(kv)).transpose()?)),
        }
    }

    /// Deletes the key if its `mod_revision` is `expected`.
    pub(crate) async fn delete(&self, key: &str, expected: i64) -> Result<Put, StoreError> {
        let delete = DeleteRangeRequest {
            key: bytes_of(key),
            ..Default::default()
        };
        let (response, retried) = self
            .txn(guarded(key, expected, Op::RequestDeleteRange(delete)))
            .await?;
        let revision = revision_of(response.header.as_ref());
        if response.succeeded {
            return Ok(Put::Done { revision });
        }
        match found_instead(response) {
            // Gone after an attempt of unknown fate: what was asked for has happened.
            None if retried => Ok(Put::Done { revision }),
            found => Ok(Put::Conflict(found.map(|kv| self.codec.open(kv)).transpose()?)),
        }
    }

    pub(crate) async fn grant_lease(&self, ttl: Duration) -> Result<i64, StoreError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let (response, _) = self
            .endpoints
            .attempt(|channel| async move { LeaseClient::new(channel).lease_grant(request).await })
            .await?;
        Ok(response.id)
    }

    pub(crate) async fn compact(&self, revision: i64) -> Result<(), StoreError> {
        let request = CompactionRequest {
            revision,
            physical: false,
        };
        match self
            .endpoints
            .attempt(|channel| async move { kv(channel).compact(request).await })
            .await
        {
            // Another replica was quicker.
            Ok(_) | Err(StoreError::Compacted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether progress requests are exact on this store. Upstream's gate: >=3.4.31 <3.5.0 or >=3.5.13
    /// (storage/feature/feature_support_checker.go).
    pub(crate) async fn supports_progress(&self) -> bool {
        let asked = self
            .progress
            .get_or_try_init(|| async {
                let (status, _) = self
                    .endpoints
                    .attempt(|channel| async move {
                        MaintenanceClient::new(channel).status(StatusRequest {}).await
                    })
                    .await?;
                Ok::<_, StoreError>(progress_is_exact(&status.version))
            })
            .await;
        matches!(asked, Ok(true))
    }
}

fn progress_is_exact(version: &str) -> bool {
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    );
    version >= (3, 5, 13) || ((3, 4, 31)..(3, 5, 0)).contains(&version)
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn guarded(key: &str, expected: i64, success: Op) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: bytes_of(key),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::ModRevision(expected)),
    };
    let read = RangeRequest {
        key: bytes_of(key),
        ..Default::default()
    };
    TxnRequest {
        compare: vec![compare],
        success: vec![RequestOp {
            request: Some(success),
        }],
        failure: vec![RequestOp {
            request: Some(Op::RequestRange(read)),
        }],
    }
}

fn found_instead(response: TxnResponse) -> Option<proto::mvccpb::KeyValue> {
    response.responses.into_iter().find_map(|op| match op.response {
        Some(OpResponse::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    })
}

fn bytes_of(key: &str) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

fn revision_of(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

#[cfg(test)]
mod tests {
    use super::progress_is_exact;

    #[test]
    fn progress_requests_are_trusted_from_the_versions_upstream_trusts() {
        for (version, exact) in [
            ("3.4.23", false),
            ("3.4.31", true),
            ("3.5.1", false),
            ("3.5.13", true),
            ("3.6.0-rc.1", true),
        ] {
            assert_eq!(progress_is_exact(version), exact, "{version}");
        }
    }
}
