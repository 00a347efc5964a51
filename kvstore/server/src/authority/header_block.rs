//! The authority in a block of headers (RFC 7541, section 6), found without a table of headers: only where a value is
//! spelled out.

use super::huffman;
use bytes::{BufMut as _, BytesMut};
use std::ops::Range;

/// `:authority` in the static table.
const AUTHORITY: usize = 1;
const HUFFMAN: u8 = 0x80;
/// Bytes of an integer behind its prefix that are read: values up to 2^21.
const LONGEST: usize = 3;

/// An authority that is spelled out.
#[derive(Debug, PartialEq, Eq)]
pub struct Authority {
    pub value: Vec<u8>,
    /// Of its length and its text in the block.
    pub place: Range<usize>,
}

/// The first authority of `block` whose value is spelled out; `None` too when the block isn't understood until there.
pub fn authority(block: &[u8]) -> Option<Authority> {
    let mut reader = Reader { block, at: 0 };
    loop {
        let first = *block.get(reader.at)?;
        let bits = match first {
            // From a table.
            0x80.. => {
                reader.integer(7)?;
                continue;
            }
            0x40.. => 6,
            // The size of the table.
            0x20.. => {
                reader.integer(5)?;
                continue;
            }
            _ => 4,
        };
        let name = reader.integer(bits)?;
        if name == 0 {
            reader.string()?;
        }
        let start = reader.at;
        let (is_huffman, text) = reader.string()?;
        if name == AUTHORITY {
            let value = if is_huffman {
                huffman::decode(text)?
            } else {
                text.to_vec()
            };
            let place = start..reader.at;
            return Some(Authority { value, place });
        }
    }
}

/// Appends a string as it is.
pub fn put_string(block: &mut BytesMut, text: &[u8]) {
    const PREFIX: usize = 0x7f;
    if text.len() < PREFIX {
        block.put_u8(text.len() as u8);
    } else {
        block.put_u8(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            block.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.put_u8(rest as u8);
    }
    block.put_slice(text);
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// An integer in the last `bits` of a byte and in those behind it.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let prefix = (1_usize << bits) - 1;
        let mut value = usize::from(*self.block.get(self.at)?) & prefix;
        self.at += 1;
        if value < prefix {
            return Some(value);
        }
        for place in 0..LONGEST {
            let byte = *self.block.get(self.at)?;
            self.at += 1;
            value += usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string, and whether it is in Huffman's code.
    fn string(&mut self) -> Option<(bool, &'a [u8])> {
        let is_huffman = self.block.get(self.at)? & HUFFMAN != 0;
        let length = self.integer(7)?;
        let text = self.block.get(self.at..)?.get(..length)?;
        self.at += length;
        Some((is_huffman, text))
    }
}
