//! Keeping the zone current.

use super::Shared;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kubeclient::{Change, Changes};
use std::sync::{Arc, PoisonError};

pub(super) async fn follow(
    shared: Arc<Shared>,
    mut services: Changes<Service>,
    mut slices: Changes<EndpointSlice>,
) {
    loop {
        tokio::select! {
            biased;
            change = services.recv() => {
                let mut zone = shared.zone.write().unwrap_or_else(PoisonError::into_inner);
                match &change.new {
                    Some(service) => zone.set_service(&change.key, service),
                    None => zone.remove_service(&change.key),
                }
            }
            Change { key, new, .. } = slices.recv() => {
                let mut zone = shared.zone.write().unwrap_or_else(PoisonError::into_inner);
                match &new {
                    Some(slice) => zone.set_slice(&key, slice),
                    None => zone.remove_slice(&key),
                }
            }
        }
    }
}
