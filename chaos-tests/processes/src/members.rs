//! How a member of a store is started that is nothing else.

use crate::places::{Places, address};
use crate::processes::Launch;
use std::ffi::OsString;

/// The program that takes etcd's flags, and what comes before them.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: OsString,
    pub before: Vec<String>,
}

/// The commands of a store that has a member in every place.
pub fn launches(program: &Program, places: &Places) -> Vec<Vec<Launch>> {
    let names = places.names();
    let peers: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(place, name)| format!("{name}=http://{}:2380", address(place)))
        .collect();
    let cluster = peers.join(",");
    let member = |(place, name): (usize, &&str)| {
        let address = address(place);
        let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
        let data = places.data(place).to_string_lossy().into_owned();
        let flags = [
            ["--name", name],
            ["--log-level", "warn"],
            ["--snapshot-count", "2000"],
            ["--data-dir", &data],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &cluster],
        ];
        let before = program.before.iter().map(OsString::from);
        vec![Launch {
            name: (*name).to_owned(),
            program: program.path.clone(),
            words: before
                .chain(flags.concat().into_iter().map(OsString::from))
                .collect(),
        }]
    };
    names.iter().enumerate().map(member).collect()
}
