//! Writes protobuf tags and values.

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

pub(super) fn fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a nested message in place: its length is put before it afterwards, which moves the message once
/// and needs no buffer of its own.
pub(super) fn message_field<E>(
    out: &mut Vec<u8>,
    number: u32,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    varint(out, u64::from(number) << 3 | 2);
    let start = out.len();
    body(out)?;
    let mut length = [0_u8; 10];
    let mut value = out.len() - start;
    let mut used = 0;
    loop {
        length[used] = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        length[used] |= 0x80;
        used += 1;
    }
    out.splice(start..start, length[..=used].iter().copied());
    Ok(())
}
