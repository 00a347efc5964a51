//! What etcd's messages and services look like, at run time.

use prost_reflect::DescriptorPool;
use std::sync::LazyLock;

/// All messages and services of etcd v3.
pub fn etcd() -> &'static DescriptorPool {
    // Nothing of a member is in it: members of one process share it.
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(proto::ETCD_DESCRIPTORS)
            .expect("the descriptors are compiled with this program")
    });
    &POOL
}
