//! The three shapes of an etcd key range.

use bytes::Bytes;

/// Keys from `start` on, up to `end`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: End,
}

/// Where a range ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Only `start` itself.
    Single,
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Open,
}

impl KeyRange {
    /// Reads `key` and `range_end` of a request: no end is one key, `\0` is no bound.
    pub fn new(key: Bytes, range_end: Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => End::Single,
            [0] => End::Open,
            _ => End::Before(range_end),
        };
        Self { start: key, end }
    }

    pub fn is_single(&self) -> bool {
        self.end == End::Single
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && !self.is_past(key) && (!self.is_single() || key == self.start)
    }

    /// Whether `key` and all after it lie behind the range.
    pub fn is_past(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key > self.start.as_ref(),
            End::Before(end) => key >= end.as_ref(),
            End::Open => false,
        }
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if *end <= self.start)
    }

    /// The prefix that this range is, if it is one: `[p, p + 1)`.
    pub fn prefix(&self) -> Option<Bytes> {
        match &self.end {
            End::Before(end) => (prefix_end(&self.start)? == end.as_ref()).then(|| self.start.clone()),
            End::Open => (self.start.is_empty() || self.start.as_ref() == [0]).then(Bytes::new),
            End::Single => None,
        }
    }
}

/// The first key after all keys with this prefix.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::KeyRange;
    use bytes::Bytes;

    fn range(key: &'static [u8], end: &'static [u8]) -> KeyRange {
        KeyRange::new(Bytes::from_static(key), Bytes::from_static(end))
    }

    #[test]
    fn shapes_contain_what_etcd_says() {
        assert!(range(b"a", b"").contains(b"a") && !range(b"a", b"").contains(b"aa"));
        assert!(range(b"a", b"b").contains(b"aa") && !range(b"a", b"b").contains(b"b"));
        assert!(range(b"a", b"\0").contains(b"zzz") && !range(b"b", b"\0").contains(b"a"));
        assert!(range(b"b", b"a").is_empty() && !range(b"b", b"a").contains(b"b"));
    }

    #[test]
    fn prefixes_are_recognized() {
        assert_eq!(range(b"/a/", b"/a0").prefix().as_deref(), Some(&b"/a/"[..]));
        assert_eq!(range(b"\0", b"\0").prefix().as_deref(), Some(&b""[..]));
        assert_eq!(range(b"a\xff", b"b").prefix().as_deref(), Some(&b"a\xff"[..]));
        assert_eq!(range(b"a", b"c").prefix(), None);
        assert_eq!(range(b"a", b"").prefix(), None);
    }
}
