//! The Huffman code of headers (RFC 7541, appendix B), as far as it is for printable ASCII but the backslash.

/// The characters whose codes have this many bits. Codes are given in this order: the next one is the one before plus
/// one, with zeros behind when it is longer.
const CODES: &[(u32, &[u8])] = &[
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// The text of `code`; `None` when it has other characters or doesn't end as a text does.
pub fn decode(code: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(code.len() * 8 / 5);
    // The bits that are not decoded yet, the next one highest.
    let (mut bits, mut count) = (0_u64, 0);
    let mut bytes = code.iter();
    loop {
        while count <= 56 {
            let Some(byte) = bytes.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let Some((character, length)) = first(bits).filter(|(_, length)| *length <= count) else {
            // What fills the last byte is the beginning of a code of ones only.
            let filled = count < 8 && bits == !(u64::MAX.checked_shr(count).unwrap_or(0));
            return filled.then_some(text);
        };
        text.push(character);
        bits <<= length;
        count -= length;
    }
}

/// The character whose code `bits` begins with, and how long that is.
fn first(bits: u64) -> Option<(u8, u32)> {
    let (mut code, mut before) = (0_u64, 0);
    for (length, characters) in CODES {
        code <<= length - before;
        before = *length;
        let place = (bits >> (64 - length)).checked_sub(code)?;
        if let Some(character) = usize::try_from(place)
            .ok()
            .and_then(|place| characters.get(place))
        {
            return Some((*character, *length));
        }
        code += characters.len() as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::decode;

    /// Of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_of_the_standard_are_decoded() {
        let www = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decode(&www).unwrap(), b"www.example.com");
        let url = [
            0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43,
            0xd3,
        ];
        assert_eq!(decode(&url).unwrap(), b"https://www.example.com");
        assert_eq!(decode(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn other_ends_and_characters_are_none() {
        // A whole byte of padding, padding of zeros, a backslash.
        assert_eq!(decode(&[0x64, 0x02, 0xff]), None);
        assert_eq!(decode(&[0x00, 0x00, 0x08]), None);
        assert_eq!(decode(&[0xff, 0xfe, 0x1f]), None);
    }
}
