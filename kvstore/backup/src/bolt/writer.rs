//! Writes a whole file in one go: leaf pages as they fill, branch pages as their children are complete, the
//! meta pages last. Memory holds one page for each level of the tree under construction, whatever the
//! size of the file.

use super::page::{
    BRANCH, BUCKET, BUCKET_HEADER, ELEMENT, FREELIST, HEADER, LEAF, META, META_RECORD, Meta, PageHeader,
};
use std::io::{self, Seek, SeekFrom, Write};

/// What nearly every machine's bbolt takes; files carry it, so others read it too.
const PAGE_SIZE: usize = 4096;
const FREELIST_PAGE: u64 = 2;
/// A bucket at most this long stands inside its record (bbolt `maxInlineBucketSize`).
const MAX_INLINE: usize = PAGE_SIZE / 4;
/// The longest key (bbolt `MaxKeySize`).
const MAX_KEY: usize = 32_768;
/// The longest value (bbolt `MaxValueSize`).
const MAX_VALUE: usize = (1 << 31) - 2;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a key of {0} bytes is too long for the file format")]
    KeyTooLong(usize),
    #[error("a value of {0} bytes is too long for the file format")]
    ValueTooLong(usize),
    #[error("keys out of order in bucket {0:?}")]
    Order(String),
}

/// A file under construction. Buckets come in the order of their names, keys in their own order.
pub struct BoltWriter<W> {
    pages: Pages<W>,
    root: Tree,
    bucket: Option<(Vec<u8>, Tree)>,
}

impl<W: Write + Seek> BoltWriter<W> {
    /// Begins a file at the start of `out`.
    ///
    /// # Errors
    /// When `out` can't be written.
    pub fn new(mut out: W) -> Result<Self, WriteError> {
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&[0; 2 * PAGE_SIZE])?;
        let mut pages = Pages {
            out,
            next: FREELIST_PAGE,
        };
        // A file written in one go has no free page.
        pages.write(FREELIST, 0, &[])?;
        Ok(Self {
            pages,
            root: Tree::default(),
            bucket: None,
        })
    }

    /// Ends the bucket before it and begins the bucket `name`.
    ///
    /// # Errors
    /// When the names are out of order, or the output fails.
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.end_bucket()?;
        self.bucket = Some((name.to_vec(), Tree::default()));
        Ok(())
    }

    /// Adds an entry to the bucket begun last.
    ///
    /// # Errors
    /// When the keys are out of order or an entry is too long, or the output fails.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        match &mut self.bucket {
            Some((name, tree)) => tree.put(&mut self.pages, name, 0, key, value),
            None => Err(WriteError::Order("no bucket".to_owned())),
        }
    }

    /// Completes the file; gives the output back, at its end, and the file's length.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> Result<(W, u64), WriteError> {
        self.end_bucket()?;
        let root = self.root.finish(&mut self.pages)?;
        let Pages { mut out, next } = self.pages;
        let mut meta = Meta {
            page_size: PAGE_SIZE as u32,
            root,
            freelist: FREELIST_PAGE,
            pages: next,
            transaction: 2,
        };
        out.seek(SeekFrom::Start(0))?;
        for id in 0..2 {
            let header = PageHeader {
                id,
                flags: META,
                count: 0,
                overflow: 0,
            };
            let mut page = [0; PAGE_SIZE];
            page[..HEADER].copy_from_slice(&header.encode());
            page[HEADER..HEADER + META_RECORD].copy_from_slice(&meta.encode());
            out.write_all(&page)?;
            // The second copy is the older one: the next transaction overwrites that.
            meta.transaction = 1;
        }
        let end = out.seek(SeekFrom::End(0))?;
        out.flush()?;
        Ok((out, end))
    }

    fn end_bucket(&mut self) -> Result<(), WriteError> {
        let Some((name, tree)) = self.bucket.take() else {
            return Ok(());
        };
        let mut record = vec![0; BUCKET_HEADER];
        if let Some(inline) = tree.inline() {
            record.extend_from_slice(&inline);
        } else {
            let root = tree.finish(&mut self.pages)?;
            record[..8].copy_from_slice(&root.to_le_bytes());
        }
        self.root
            .put(&mut self.pages, b"the root", BUCKET, &name, &record)
    }
}

/// Hands out pages in the order in which they are written.
struct Pages<W> {
    out: W,
    next: u64,
}

impl<W: Write> Pages<W> {
    /// Writes a page, with as many overflow pages as it takes; gives its id.
    fn write(&mut self, flags: u16, count: u16, body: &[u8]) -> io::Result<u64> {
        let id = self.next;
        let taken = (HEADER + body.len()).div_ceil(PAGE_SIZE);
        let overflow = u32::try_from(taken - 1).map_err(io::Error::other)?;
        let header = PageHeader {
            id,
            flags,
            count,
            overflow,
        };
        self.out.write_all(&header.encode())?;
        self.out.write_all(body)?;
        let padding = [0; PAGE_SIZE];
        self.out
            .write_all(&padding[..taken * PAGE_SIZE - HEADER - body.len()])?;
        self.next += taken as u64;
        Ok(id)
    }
}

/// A tree under construction: its last leaf, and the last branch of each level above.
#[derive(Default)]
struct Tree {
    leaf: Leaf,
    branches: Vec<Branch>,
    last_key: Option<Vec<u8>>,
}

impl Tree {
    fn put<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        name: &[u8],
        flags: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), WriteError> {
        if key.len() > MAX_KEY {
            return Err(WriteError::KeyTooLong(key.len()));
        }
        if value.len() > MAX_VALUE {
            return Err(WriteError::ValueTooLong(value.len()));
        }
        // An empty key, too, is one that bbolt doesn't take.
        if key <= self.last_key.as_deref().unwrap_or_default() {
            return Err(WriteError::Order(String::from_utf8_lossy(name).into_owned()));
        }
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        if !self.leaf.is_empty() && self.leaf.len() + ELEMENT + key.len() + value.len() > PAGE_SIZE {
            let (first, id) = std::mem::take(&mut self.leaf).write(pages)?;
            self.add_child(pages, 0, first, id)?;
        }
        self.leaf.push(flags, key, value);
        Ok(())
    }

    fn add_child<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        level: usize,
        first: Vec<u8>,
        id: u64,
    ) -> Result<(), WriteError> {
        if level == self.branches.len() {
            self.branches.push(Branch::default());
        }
        let branch = &mut self.branches[level];
        // Two children at least, or the tree would not get narrower.
        if branch.children.len() >= 2 && branch.len() + ELEMENT + first.len() > PAGE_SIZE {
            let (above, written) = std::mem::take(branch).write(pages)?;
            self.add_child(pages, level + 1, above, written)?;
        }
        self.branches[level].push(first, id);
        Ok(())
    }

    /// The tree as the one page of an inline bucket, when it is small enough.
    fn inline(&self) -> Option<Vec<u8>> {
        if !self.branches.is_empty() || self.leaf.len() > MAX_INLINE {
            return None;
        }
        let header = PageHeader {
            id: 0,
            flags: LEAF,
            count: self.leaf.count(),
            overflow: 0,
        };
        let mut page = header.encode().to_vec();
        page.extend(self.leaf.body());
        Some(page)
    }

    /// Writes what is left; gives the root page.
    fn finish<W: Write>(mut self, pages: &mut Pages<W>) -> Result<u64, WriteError> {
        let (mut first, mut id) = std::mem::take(&mut self.leaf).write(pages)?;
        let mut level = 0;
        while level < self.branches.len() {
            self.add_child(pages, level, first, id)?;
            (first, id) = std::mem::take(&mut self.branches[level]).write(pages)?;
            level += 1;
        }
        Ok(id)
    }
}

#[derive(Default)]
struct Leaf {
    /// Flags, length of the key, length of the value.
    elements: Vec<(u32, usize, usize)>,
    data: Vec<u8>,
}

impl Leaf {
    fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    fn count(&self) -> u16 {
        // A page that isn't one long element is no longer than PAGE_SIZE.
        u16::try_from(self.elements.len()).unwrap_or(u16::MAX)
    }

    /// Bytes of the page.
    fn len(&self) -> usize {
        HEADER + self.elements.len() * ELEMENT + self.data.len()
    }

    fn push(&mut self, flags: u32, key: &[u8], value: &[u8]) {
        self.elements.push((flags, key.len(), value.len()));
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        let mut at = self.elements.len() * ELEMENT;
        for (flags, key, value) in &self.elements {
            // A position counts from its own element on.
            let position = at - out.len();
            for number in [*flags as usize, position, *key, *value] {
                // Lengths are checked before: they fit.
                out.extend_from_slice(&(number as u32).to_le_bytes());
            }
            at += key + value;
        }
        out.extend_from_slice(&self.data);
        out
    }

    /// Writes the page; gives its first key and its id.
    fn write<W: Write>(self, pages: &mut Pages<W>) -> Result<(Vec<u8>, u64), WriteError> {
        let id = pages.write(LEAF, self.count(), &self.body())?;
        let first = self.elements.first().map_or(0, |(_, key, _)| *key);
        Ok((self.data[..first].to_vec(), id))
    }
}

#[derive(Default)]
struct Branch {
    /// The first key of each child, and its page.
    children: Vec<(Vec<u8>, u64)>,
    keys: usize,
}

impl Branch {
    fn len(&self) -> usize {
        HEADER + self.children.len() * ELEMENT + self.keys
    }

    fn push(&mut self, first: Vec<u8>, id: u64) {
        self.keys += first.len();
        self.children.push((first, id));
    }

    fn write<W: Write>(self, pages: &mut Pages<W>) -> Result<(Vec<u8>, u64), WriteError> {
        let mut body = Vec::with_capacity(self.len());
        let mut at = self.children.len() * ELEMENT;
        for (key, id) in &self.children {
            let position = at - body.len();
            body.extend_from_slice(&(position as u32).to_le_bytes());
            body.extend_from_slice(&(key.len() as u32).to_le_bytes());
            body.extend_from_slice(&id.to_le_bytes());
            at += key.len();
        }
        for (key, _) in &self.children {
            body.extend_from_slice(key);
        }
        let count = u16::try_from(self.children.len()).map_err(io::Error::other)?;
        let id = pages.write(BRANCH, count, &body)?;
        let first = self.children.into_iter().next();
        Ok((first.map(|(key, _)| key).unwrap_or_default(), id))
    }
}
