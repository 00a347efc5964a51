//! Header blocks: name and value pairs, compressed over the life of a connection.
//!
//! What we send is stored, not deflated: valid for every peer, and the few short blocks of a session are
//! not worth a compressor.

use super::dictionary;
use flate2::{Decompress, FlushDecompress};
use std::io;

/// Our peers send a handful of short headers.
const MAX_BLOCK: usize = 64 << 10;

/// Names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| (name.to_lowercase(), (*value).to_owned());
        Self(pairs.iter().map(own).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn plain(&self) -> Vec<u8> {
        let mut block = Vec::new();
        let number = |n: usize, block: &mut Vec<u8>| {
            block.extend_from_slice(&u32::try_from(n).unwrap_or(0).to_be_bytes());
        };
        number(self.0.len(), &mut block);
        for (name, value) in &self.0 {
            for text in [name, value] {
                number(text.len(), &mut block);
                block.extend_from_slice(text.as_bytes());
            }
        }
        block
    }

    fn parse(mut block: &[u8]) -> io::Result<Self> {
        let count = take_number(&mut block)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut block)?.to_lowercase();
            let value = take_text(&mut block)?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

fn take_number(block: &mut &[u8]) -> io::Result<usize> {
    let (number, rest) = block
        .split_first_chunk::<4>()
        .ok_or_else(|| bad("SPDY header block is cut off"))?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(io::Error::other)
}

fn take_text(block: &mut &[u8]) -> io::Result<String> {
    let length = take_number(block)?;
    if length > block.len() {
        return Err(bad("SPDY header block is cut off"));
    }
    let (text, rest) = block.split_at(length);
    *block = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Writes blocks of one direction of a connection.
#[derive(Default)]
pub(super) struct Encoder {
    begun: bool,
}

impl Encoder {
    pub fn encode(&mut self, headers: &Headers) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.begun {
            // zlib: deflate, 32 KiB window, preset dictionary.
            out.extend_from_slice(&[0x78, 0x20]);
            out.extend_from_slice(&dictionary::ID.to_be_bytes());
            self.begun = true;
        }
        for chunk in headers.plain().chunks(usize::from(u16::MAX)) {
            stored_block(chunk, &mut out);
        }
        // An empty block, as a sync flush ends with: Go's reader hands out what came before only there.
        stored_block(&[], &mut out);
        out
    }
}

fn stored_block(data: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.push(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(data);
}

/// Reads blocks of one direction of a connection.
pub(super) struct Decoder {
    inflate: Decompress,
    begun: bool,
}

impl Decoder {
    pub fn new() -> io::Result<Self> {
        let mut decoder = Self {
            inflate: Decompress::new(false),
            begun: false,
        };
        // A preset dictionary is what was inflated before: given as a stored block, it is the same.
        let mut primer = Vec::new();
        stored_block(&dictionary::bytes(), &mut primer);
        decoder.inflate_all(&primer)?;
        Ok(decoder)
    }

    pub fn decode(&mut self, block: &[u8]) -> io::Result<Headers> {
        let mut block = block;
        if !self.begun {
            let flags = *block
                .get(1)
                .ok_or_else(|| bad("SPDY header block without zlib header"))?;
            let skip = if flags & 0x20 == 0 { 2 } else { 6 };
            block = block.get(skip..).ok_or_else(|| bad("zlib header is cut off"))?;
            self.begun = true;
        }
        Headers::parse(&self.inflate_all(block)?)
    }

    fn inflate_all(&mut self, mut input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            self.inflate
                .decompress(input, &mut buffer, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
            let used = usize::try_from(self.inflate.total_in() - before_in).map_err(io::Error::other)?;
            let made = usize::try_from(self.inflate.total_out() - before_out).map_err(io::Error::other)?;
            input = &input[used..];
            out.extend_from_slice(&buffer[..made]);
            if out.len() > MAX_BLOCK {
                return Err(bad("SPDY header block is too large"));
            }
            if input.is_empty() && made < buffer.len() {
                return Ok(out);
            }
            if used == 0 && made == 0 {
                return Err(bad("SPDY header block does not inflate"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dictionary;
    use super::{Decoder, Encoder, Headers};
    use flate2::{Compress, Compression, FlushCompress};

    #[test]
    fn blocks_of_a_deflating_peer_and_of_our_own_are_read() {
        let one = Headers::new(&[("streamType", "error"), ("port", "80")]);
        let two = Headers::new(&[("streamType", "data"), ("port", "80"), ("origin", "public")]);
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new().expect("a decoder"));
        for headers in [&one, &two] {
            assert_eq!(
                decoder.decode(&encoder.encode(headers)).expect("headers"),
                *headers
            );
        }
        assert_eq!(two.get("streamtype"), Some("data"));
        // A peer whose compressor refers back into the dictionary and into earlier blocks.
        let mut deflate = Compress::new(Compression::best(), false);
        let mut buffer = vec![0; 8192];
        deflate
            .compress(&dictionary::bytes(), &mut buffer, FlushCompress::Sync)
            .expect("a primer");
        let mut decoder = Decoder::new().expect("a decoder");
        for (index, headers) in [&one, &two, &one].into_iter().enumerate() {
            let before = deflate.total_out();
            deflate
                .compress(&headers.plain(), &mut buffer, FlushCompress::Sync)
                .expect("a block");
            let made = usize::try_from(deflate.total_out() - before).expect("a size");
            let mut block = if index == 0 {
                vec![0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]
            } else {
                Vec::new()
            };
            block.extend_from_slice(&buffer[..made]);
            assert_eq!(decoder.decode(&block).expect("headers"), *headers);
        }
    }
}
