//! Where a write-ahead log is damaged: at its torn end, which a power cut leaves, or before records that were
//! written later, which only a failing disk leaves.
//!
//! RocksDB opens a log whose last record is cut short. One whose last record is garbled, it takes for
//! corrupt, or, told to be lenient, for the end, whatever follows. So the question is asked here, of the
//! files themselves. Their format is `db/log_format.h` of RocksDB: blocks of 32 KiB, records of a masked
//! CRC-32C, a length (both little endian) and a type, none of them across a block's end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// A record in one piece, and the first piece of one.
const STARTS: [u8; 2] = [1, 2];

/// The first damage of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub file: PathBuf,
    /// Where the damaged record begins.
    pub offset: u64,
    /// Whether a whole record begins after it.
    pub followed: bool,
}

/// Looks through all write-ahead logs in `folder`, oldest first.
///
/// # Errors
/// When they can't be read.
pub fn damage(folder: &Path) -> io::Result<Option<Damage>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), Some("log")) = (number, path.extension().and_then(|end| end.to_str())) {
            logs.push((number, path));
        }
    }
    logs.sort();
    let mut found: Option<Damage> = None;
    for (_, file) in logs {
        let mut reader = io::BufReader::with_capacity(BLOCK, File::open(&file)?);
        let scan = scan(&mut reader, found.is_some())?;
        if let Some(damage) = &mut found {
            damage.followed |= scan.follows;
        } else if let Some(offset) = scan.damaged {
            found = Some(Damage {
                file,
                offset,
                followed: scan.follows,
            });
        }
    }
    Ok(found)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Scan {
    damaged: Option<u64>,
    /// A record begins after the damage (or anywhere, when there was damage before).
    follows: bool,
}

fn scan(reader: &mut impl io::Read, damaged_before: bool) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut block = Vec::with_capacity(BLOCK);
    let mut start = 0;
    loop {
        block.clear();
        reader.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let mut at = 0;
        while block.len() - at >= HEADER {
            let rest = &block[at..];
            let length = usize::from(u16::from_le_bytes([rest[4], rest[5]]));
            let Some(checked) = rest.get(6..HEADER + length) else {
                // Cut short, or a length that can't be.
                scan.damaged.get_or_insert(start + at as u64);
                break;
            };
            // Space that was reserved and never written.
            let blank = rest[..HEADER].iter().all(|byte| *byte == 0);
            let whole = !blank && rest[..4] == mask(crc32c::crc32c(checked)).to_le_bytes();
            if !whole {
                scan.damaged.get_or_insert(start + at as u64);
                if blank {
                    break;
                }
            } else if (scan.damaged.is_some() || damaged_before) && STARTS.contains(&rest[6]) {
                scan.follows = true;
            }
            at += HEADER + length;
        }
        start += block.len() as u64;
        if block.len() < BLOCK {
            return Ok(scan);
        }
    }
}

/// How RocksDB stores a checksum, so that a log within a log doesn't check itself.
const fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, HEADER, Scan, mask, scan};

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut checked = vec![kind];
        checked.extend(payload);
        let mut out = mask(crc32c::crc32c(&checked)).to_le_bytes().to_vec();
        out.extend((payload.len() as u16).to_le_bytes());
        out.extend(checked);
        out
    }

    fn log(records: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        for record in records {
            let left = BLOCK - log.len() % BLOCK;
            if left < record.len() {
                log.extend(vec![0; left]);
            }
            log.extend(record);
        }
        log
    }

    fn look(log: &[u8]) -> Scan {
        scan(&mut &log[..], false).expect("memory reads")
    }

    #[test]
    fn a_torn_end_is_told_from_damage_before_later_records() {
        let first = record(1, &[1; 100]);
        let whole = log(&[first.clone(), record(1, &[2; 50]), record(1, &[3; 50])]);
        assert_eq!(look(&whole), Scan::default());
        for cut in 1..50 {
            let torn = look(&whole[..whole.len() - cut]);
            assert_eq!(
                (torn.damaged.is_some(), torn.follows),
                (true, false),
                "cut by {cut}"
            );
        }
        let mut garbled = whole.clone();
        *garbled.last_mut().expect("not empty") ^= 1;
        assert!(!look(&garbled).follows);
        let mut middle = whole;
        middle[first.len() + HEADER] ^= 1;
        let found = look(&middle);
        assert_eq!(found.damaged, Some(first.len() as u64));
        assert!(found.follows);
    }

    #[test]
    fn a_garbled_length_loses_the_block_but_not_the_next_one() {
        let mut long = log(&[
            record(1, &[1; 20_000]),
            record(1, &[2; 12_000]),
            record(1, &[3; 2_000]),
        ]);
        long[5] = 0xff;
        let found = look(&long);
        assert_eq!((found.damaged, found.follows), (Some(0), true));
    }

    #[test]
    fn the_pieces_of_one_torn_record_don_t_follow_it() {
        let mut pieces = log(&[
            record(1, b"whole"),
            record(2, &[1; BLOCK - 40]),
            record(4, &[2; 10]),
        ]);
        pieces[60] ^= 1;
        let found = look(&pieces);
        assert!(found.damaged.is_some() && !found.follows);
    }
}
