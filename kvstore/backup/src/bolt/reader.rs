//! Reads a file in order, page by page. Whatever the bytes are, it ends, with the entries or with an error:
//! every offset is checked, no page is visited twice, keys must ascend.

use super::page::{
    BRANCH, BUCKET, BUCKET_HEADER, ELEMENT, HEADER, LEAF, META_RECORD, Meta, PageHeader, u32_at, u64_at,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The deepest tree: with two children a branch it would hold more pages than can be numbered.
const MAX_DEPTH: usize = 64;
/// The smallest and the greatest page size tried when the first meta page is damaged (bbolt `getPageSize`).
const PAGE_SIZES: std::ops::Range<u32> = 9..21;

/// Bytes that can be read at any offset.
pub trait Source {
    /// # Errors
    /// When they can't be read, or end before `buffer` is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// # Errors
    /// When it can't be told.
    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..at.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not a bbolt database, or its meta pages are damaged")]
    NoMeta,
    #[error("the file is truncated: {found} bytes of {expected}")]
    Truncated { found: u64, expected: u64 },
    #[error("page {page} is damaged: {what}")]
    Page { page: u64, what: &'static str },
}

/// An open file.
pub struct Database<S> {
    source: S,
    meta: Meta,
}

/// Where the entries of a bucket are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: Vec<u8>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Root(u64),
    Inline(Vec<u8>),
}

impl<S: Source> Database<S> {
    /// Opens a file; what follows the database's last page isn't looked at.
    ///
    /// # Errors
    /// When it isn't a database, or ends before its last page.
    pub fn open(source: S) -> Result<Self, FormatError> {
        let meta = newest_meta(&source)?;
        let found = source.length()?;
        let expected = meta.pages.saturating_mul(u64::from(meta.page_size));
        if found < expected {
            return Err(FormatError::Truncated { found, expected });
        }
        Ok(Self { source, meta })
    }

    /// Bytes of the database: what follows is no part of it.
    pub fn size(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_size)
    }

    /// All buckets, by name.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    pub fn buckets(&self) -> Result<Vec<Bucket>, FormatError> {
        let mut found = Vec::new();
        let mut entries = Entries::new(self, Place::Root(self.meta.root), true);
        while let Some((name, value)) = entries.next()? {
            let damaged = |what| FormatError::Page {
                page: self.meta.root,
                what,
            };
            let root = u64_at(value, 0).ok_or_else(|| damaged("a bucket without a root"))?;
            let place = match value.get(BUCKET_HEADER..) {
                Some(inline) if root == 0 => Place::Inline(inline.to_vec()),
                Some(_) => Place::Root(root),
                None => return Err(damaged("a bucket cut short")),
            };
            found.push(Bucket {
                name: name.to_vec(),
                place,
            });
        }
        Ok(found)
    }

    /// The entries of `bucket`, in order.
    pub fn entries(&self, bucket: &Bucket) -> Entries<'_, S> {
        Entries::new(self, bucket.place.clone(), false)
    }

    fn page(&self, id: u64, visited: &mut Visited) -> Result<Page, FormatError> {
        let damaged = |what| FormatError::Page { page: id, what };
        if !(2..self.meta.pages).contains(&id) {
            return Err(damaged("outside the file"));
        }
        let size = u64::from(self.meta.page_size);
        let mut header = [0; HEADER];
        self.source.read_at(id * size, &mut header)?;
        let header = PageHeader::parse(&header).ok_or_else(|| damaged("no header"))?;
        if header.id != id {
            return Err(damaged("has another page's number"));
        }
        let end = id + 1 + u64::from(header.overflow);
        if end > self.meta.pages {
            return Err(damaged("reaches past the end of the file"));
        }
        if !visited.mark(id..end) {
            return Err(damaged("is referred to twice"));
        }
        // No longer than the file, which is there: the length is not made up.
        let length = usize::try_from((end - id) * size).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.source.read_at(id * size, &mut bytes)?;
        Page::parse(id, header, bytes)
    }
}

/// The valid meta page of the newest transaction.
fn newest_meta(source: &impl Source) -> Result<Meta, FormatError> {
    let read = |offset: u64| {
        let mut record = [0; META_RECORD];
        source.read_at(offset + HEADER as u64, &mut record).ok()?;
        Meta::parse(&record)
    };
    let first = read(0);
    let sizes: Vec<u32> = match &first {
        Some(meta) => vec![meta.page_size],
        None => PAGE_SIZES.map(|power| 1 << power).collect(),
    };
    let second = sizes
        .into_iter()
        .find_map(|size| read(u64::from(size)).filter(|meta| meta.page_size == size));
    first
        .into_iter()
        .chain(second)
        .max_by_key(|meta| meta.transaction)
        .ok_or(FormatError::NoMeta)
}

/// One bit a page.
struct Visited(Vec<u64>);

impl Visited {
    /// Marks pages; false when one was marked before.
    fn mark(&mut self, pages: std::ops::Range<u64>) -> bool {
        pages.into_iter().all(|page| {
            let (word, bit) = ((page / 64) as usize, 1 << (page % 64));
            if word >= self.0.len() {
                self.0.resize(word + 1, 0);
            }
            let fresh = self.0[word] & bit == 0;
            self.0[word] |= bit;
            fresh
        })
    }
}

/// A leaf or branch page whose header is checked.
struct Page {
    id: u64,
    leaf: bool,
    count: usize,
    bytes: Vec<u8>,
}

/// An element of a page.
enum Element<'a> {
    Child(u64),
    Entry {
        bucket: bool,
        key: &'a [u8],
        value: &'a [u8],
    },
}

impl Page {
    fn parse(id: u64, header: PageHeader, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let damaged = |what| FormatError::Page { page: id, what };
        let leaf = match header.flags {
            LEAF => true,
            BRANCH if header.count > 0 => false,
            BRANCH => return Err(damaged("a branch without children")),
            _ => return Err(damaged("neither leaf nor branch")),
        };
        let count = usize::from(header.count);
        if HEADER + count * ELEMENT > bytes.len() {
            return Err(damaged("more elements than fit"));
        }
        Ok(Self {
            id,
            leaf,
            count,
            bytes,
        })
    }

    fn element(&self, index: usize) -> Result<Element<'_>, FormatError> {
        let damaged = || FormatError::Page {
            page: self.id,
            what: "an element points outside of it",
        };
        let at = HEADER + index * ELEMENT;
        if !self.leaf {
            return u64_at(&self.bytes, at + 8)
                .map(Element::Child)
                .ok_or_else(damaged);
        }
        let number = |offset| {
            u32_at(&self.bytes, at + offset)
                .map(|number| number as usize)
                .ok_or_else(damaged)
        };
        let (flags, position, key, value) = (number(0)?, number(4)?, number(8)?, number(12)?);
        let slice = |from: Option<usize>, length: usize| {
            let from = from?;
            self.bytes.get(from..from.checked_add(length)?)
        };
        let start = at.checked_add(position);
        let middle = start.and_then(|start| start.checked_add(key));
        Ok(Element::Entry {
            bucket: flags & BUCKET as usize != 0,
            key: slice(start, key).ok_or_else(damaged)?,
            value: slice(middle, value).ok_or_else(damaged)?,
        })
    }
}

/// Key and value, as long as their page.
pub type Item<'a> = (&'a [u8], &'a [u8]);

/// Walks the entries of one bucket.
pub struct Entries<'a, S> {
    database: &'a Database<S>,
    start: Option<Place>,
    /// Whether the values are buckets.
    of_buckets: bool,
    /// From the root down: a page, and its next element.
    path: Vec<(Page, usize)>,
    visited: Visited,
    last_key: Option<Vec<u8>>,
}

impl<'a, S: Source> Entries<'a, S> {
    fn new(database: &'a Database<S>, start: Place, of_buckets: bool) -> Self {
        Self {
            database,
            start: Some(start),
            of_buckets,
            path: Vec::new(),
            visited: Visited(Vec::new()),
            last_key: None,
        }
    }

    /// The next key and value; `None` after the last.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    #[allow(clippy::should_implement_trait, reason = "an entry borrows from its page")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, FormatError> {
        if !self.settle()? {
            return Ok(None);
        }
        let Some((page, next)) = self.path.last_mut() else {
            return Ok(None);
        };
        let damaged = |what| FormatError::Page { page: page.id, what };
        let element = page.element(*next)?;
        *next += 1;
        let Element::Entry { bucket, key, value } = element else {
            return Err(damaged("a branch where a leaf belongs"));
        };
        if bucket != self.of_buckets {
            return Err(damaged("a bucket among entries, or an entry among buckets"));
        }
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(damaged("keys out of order"));
        }
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(Some((key, value)))
    }

    /// Goes to the leaf that has the next entry; false at the end.
    fn settle(&mut self) -> Result<bool, FormatError> {
        if let Some(start) = self.start.take() {
            let page = match start {
                Place::Root(id) => self.database.page(id, &mut self.visited)?,
                Place::Inline(bytes) => {
                    let header = PageHeader::parse(&bytes).ok_or(FormatError::Page {
                        page: 0,
                        what: "an inline bucket without a page",
                    })?;
                    Page::parse(0, header, bytes)?
                }
            };
            self.path.push((page, 0));
        }
        while let Some((page, next)) = self.path.last_mut() {
            if *next >= page.count {
                self.path.pop();
                continue;
            }
            if page.leaf {
                return Ok(true);
            }
            let child = page.element(*next)?;
            *next += 1;
            if let Element::Child(id) = child {
                if self.path.len() == MAX_DEPTH {
                    return Err(FormatError::Page {
                        page: id,
                        what: "too deep in its tree",
                    });
                }
                let page = self.database.page(id, &mut self.visited)?;
                self.path.push((page, 0));
            }
        }
        Ok(false)
    }
}
