//! The identity of a request.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UserInfo {
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    pub(crate) fn anonymous() -> Self {
        Self {
            username: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    pub(crate) fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|known| known == group)
    }
}

impl UserInfo {
    pub(crate) fn subject(&self) -> apiserver_core::authorization::Subject<'_> {
        apiserver_core::authorization::Subject {
            name: &self.username,
            groups: &self.groups,
        }
    }
}
