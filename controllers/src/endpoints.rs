//! Endpoints and EndpointSlices: where a Service's traffic goes.

mod legacy;
mod mirror;
mod pods;
mod service_slices;
mod slices;
#[cfg(test)]
mod tests;

pub use legacy::EndpointsController;
pub use mirror::EndpointSliceMirroringController;
pub use service_slices::EndpointSliceController;

use crate::object::{Key, MetaView};
use crate::runner::{Cache, Watches};
use crate::selector;
use k8s_openapi::api::core::v1::{Pod, Service};

/// A change of a pod is a look at the Services that select it, before and after.
fn watch_pods(watches: &mut Watches<'_>, pods: &Cache<Pod>, services: &Cache<Service>) {
    let services = services.clone();
    watches.on(pods, move |change| {
        let states: Vec<&Pod> = [&change.old, &change.new]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
            .collect();
        if let [old, new] = states.as_slice()
            && !pods::matters(old, new)
        {
            return Vec::new();
        }
        let Some(namespace) = states.first().map(|pod| pod.metadata.namespace()) else {
            return Vec::new();
        };
        services
            .list_namespace(namespace)
            .into_iter()
            .filter(|service| {
                let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                wanted.is_some_and(|wanted| {
                    !wanted.is_empty()
                        && states
                            .iter()
                            .any(|pod| selector::includes(pod.metadata.labels.as_ref(), wanted))
                })
            })
            .map(|service| Key::of(&service.metadata))
            .collect()
    });
}
