//! Pages and what is in them.

/// Bytes of a page header: id (8), flags (2), count (2), overflow (4).
pub const HEADER: usize = 16;
/// Bytes of an element, of branch and leaf pages alike.
pub const ELEMENT: usize = 16;
/// Bytes of a bucket's record before its inline page: root page (8), sequence (8).
pub const BUCKET_HEADER: usize = 16;

pub const BRANCH: u16 = 0x01;
pub const LEAF: u16 = 0x02;
pub const META: u16 = 0x04;
pub const FREELIST: u16 = 0x10;

/// The flag of a leaf element whose value is a bucket.
pub const BUCKET: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Bytes of a meta record, its checksum included.
pub const META_RECORD: usize = 64;
/// The checksum covers everything before itself.
const META_SUMMED: usize = 56;

/// The record in a meta page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub page_size: u32,
    /// The root page of the tree of buckets.
    pub root: u64,
    pub freelist: u64,
    /// The number of pages.
    pub pages: u64,
    pub transaction: u64,
}

impl Meta {
    pub fn encode(&self) -> [u8; META_RECORD] {
        let mut out = [0; META_RECORD];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        // Flags (4) and the root bucket's sequence (8) stay zero.
        out[16..24].copy_from_slice(&self.root.to_le_bytes());
        out[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        out[40..48].copy_from_slice(&self.pages.to_le_bytes());
        out[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let checksum = fnv1a(&out[..META_SUMMED]);
        out[META_SUMMED..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` when it isn't a meta record of this version, or a damaged one.
    pub fn parse(record: &[u8; META_RECORD]) -> Option<Self> {
        let meta = Self {
            page_size: u32_at(record, 8)?,
            root: u64_at(record, 16)?,
            freelist: u64_at(record, 32)?,
            pages: u64_at(record, 40)?,
            transaction: u64_at(record, 48)?,
        };
        let good = u32_at(record, 0)? == MAGIC
            && u32_at(record, 4)? == VERSION
            && u64_at(record, META_SUMMED)? == fnv1a(&record[..META_SUMMED])
            && meta.page_size.is_power_of_two()
            && (512..=1 << 20).contains(&meta.page_size);
        good.then_some(meta)
    }
}

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    /// How many pages follow that belong to this one.
    pub overflow: u32,
}

impl PageHeader {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.to_le_bytes());
        out[10..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..16].copy_from_slice(&self.overflow.to_le_bytes());
        out
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16::from_le_bytes(array_at(bytes, 8)?),
            count: u16::from_le_bytes(array_at(bytes, 10)?),
            overflow: u32_at(bytes, 12)?,
        })
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// FNV-1a, 64 bits: the checksum of meta pages.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
