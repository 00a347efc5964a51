//! Answers as etcdutl prints them (etcd `etcdutl/etcdutl/printer*.go`).

use clap::ValueEnum;
use kvstore_backup::{BackupStatus, HistoryHash};
use serde_json::json;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum WriteOut {
    #[default]
    Simple,
    Json,
    Table,
    Fields,
}

pub fn status(status: &BackupStatus, out: WriteOut) -> String {
    let row = [
        format!("{:x}", status.hash),
        status.revision.to_string(),
        status.total_keys.to_string(),
        human_bytes(status.total_size),
        status.version.clone(),
    ];
    match out {
        WriteOut::Simple => format!("{}\n", row.join(", ")),
        WriteOut::Table => table(&["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"], &row),
        WriteOut::Fields => format!(
            "\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
            status.hash, status.revision, status.total_keys, status.total_size, status.version
        ),
        WriteOut::Json => {
            #[derive(serde::Serialize)]
            #[serde(rename_all = "camelCase")]
            struct Status<'a> {
                hash: u32,
                revision: i64,
                total_key: u64,
                total_size: u64,
                version: &'a str,
            }
            let value = Status {
                hash: status.hash,
                revision: status.revision,
                total_key: status.total_keys,
                total_size: status.total_size,
                version: &status.version,
            };
            format!("{}\n", json!(value))
        }
    }
}

pub fn history_hash(hash: &HistoryHash, out: WriteOut) -> String {
    let row = [
        hash.hash.to_string(),
        hash.revision.to_string(),
        hash.compacted.to_string(),
    ];
    match out {
        WriteOut::Simple => format!("{}\n", row.join(", ")),
        WriteOut::Table => table(&["HASH", "HASH REVISION", "COMPACT REVISION"], &row),
        WriteOut::Fields => format!(
            "\"Hash\" : {}\n\"Hash revision\" : {}\n\"Compact revision\" : {}\n",
            hash.hash, hash.revision, hash.compacted
        ),
        WriteOut::Json => {
            let value = json!({
                "hash": hash.hash,
                "hashRevision": hash.revision,
                "compactRevision": hash.compacted,
            });
            format!("{value}\n")
        }
    }
}

/// A table of one row, ruled with plus signs and dashes.
fn table(header: &[&str], row: &[String]) -> String {
    let widths: Vec<usize> = header
        .iter()
        .zip(row)
        .map(|(title, cell)| title.len().max(cell.len()))
        .collect();
    let rule = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect::<String>()
        + "+\n";
    let titles = header.iter().zip(&widths).map(|(title, width)| {
        let left = (width - title.len()) / 2;
        format!("| {:left$}{title:<rest$} ", "", rest = width - left)
    });
    let cells = row
        .iter()
        .zip(&widths)
        .map(|(cell, width)| format!("| {cell:>width$} "));
    format!(
        "{rule}{}|\n{rule}{}|\n{rule}",
        titles.collect::<String>(),
        cells.collect::<String>()
    )
}

/// `20 kB`, `1.5 MB`: powers of 1000, one digit after the point below ten (go-humanize `Bytes`).
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut divisor) = (0, 1_u64);
    while bytes / divisor >= 1000 && unit + 1 < UNITS.len() {
        divisor = divisor.saturating_mul(1000);
        unit += 1;
    }
    // Tenths, rounded half up.
    let tenths = (u128::from(bytes) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        // Whole numbers are rounded half to even, as Go's `%.0f` does.
        let (whole, rest) = (tenths / 10, tenths % 10);
        let up = rest > 5 || (rest == 5 && whole % 2 == 1);
        format!("{} {}", whole + u128::from(up), UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: BackupStatus = BackupStatus {
        hash: 0xfe01_cf57,
        revision: 10,
        total_keys: 7,
        total_size: 2_100_000,
        version: String::new(),
    };

    #[test]
    fn status_looks_like_etcds() {
        assert_eq!(status(&STATUS, WriteOut::Simple), "fe01cf57, 10, 7, 2.1 MB, \n");
        assert_eq!(
            status(&STATUS, WriteOut::Json),
            "{\"hash\":4261531479,\"revision\":10,\"totalKey\":7,\"totalSize\":2100000,\"version\":\"\"}\n"
        );
        assert_eq!(
            status(&STATUS, WriteOut::Fields),
            "\"Hash\" : 4261531479\n\"Revision\" : 10\n\"Keys\" : 7\n\"Size\" : 2100000\n\"Version\" : \n"
        );
        let table = status(&STATUS, WriteOut::Table);
        assert!(
            table.contains("|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |\n"),
            "{table}"
        );
        assert!(
            table.contains("| fe01cf57 |       10 |          7 |     2.1 MB |         |\n"),
            "{table}"
        );
    }

    #[test]
    fn bytes_are_shown_as_go_humanize_does() {
        for (bytes, shown) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (24_576, "25 kB"),
            (24_500, "24 kB"),
            (82_854_982, "83 MB"),
            (1_500_000_000, "1.5 GB"),
        ] {
            assert_eq!(human_bytes(bytes), shown);
        }
    }
}
