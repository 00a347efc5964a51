//! Reads protobuf tags and values, bounds-checked.

use super::ProtobufError;

pub(super) struct Reader<'b> {
    bytes: &'b [u8],
}

/// One field as it stands on the wire.
pub(super) enum Item<'b> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'b [u8]),
    Fixed32,
    /// groups are skipped: Kubernetes never uses them
    Group,
}

impl Item<'_> {
    pub(super) fn wire(&self) -> u8 {
        match self {
            Item::Varint(_) => 0,
            Item::Fixed64(_) => 1,
            Item::Bytes(_) => 2,
            Item::Group => 3,
            Item::Fixed32 => 5,
        }
    }
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    /// The next field's number and value, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Item<'b>)>, ProtobufError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let (number, wire) = self.tag()?;
        let item = match wire {
            0 => Item::Varint(self.varint()?),
            1 => Item::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Item::Bytes(self.take(length)?)
            }
            3 => {
                self.skip_group()?;
                Item::Group
            }
            5 => {
                self.take(4)?;
                Item::Fixed32
            }
            other => return Err(ProtobufError::IllegalWireType(other)),
        };
        Ok(Some((number, item)))
    }

    /// Varints until the end, for packed lists.
    pub(super) fn next_varint(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.bytes.is_empty() {
            Ok(None)
        } else {
            self.varint().map(Some)
        }
    }

    pub(super) fn next_fixed64(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.bytes.is_empty() {
            Ok(None)
        } else {
            Ok(Some(u64::from_le_bytes(self.array()?)))
        }
    }

    fn tag(&mut self) -> Result<(u32, u8), ProtobufError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::Overflow)?;
        if number == 0 {
            return Err(ProtobufError::IllegalWireType((tag & 7) as u8));
        }
        Ok((number, (tag & 7) as u8))
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for (i, byte) in self.bytes.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.bytes.len() >= 10 {
            ProtobufError::Overflow
        } else {
            ProtobufError::Truncated
        })
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], ProtobufError> {
        if length > self.bytes.len() {
            return Err(ProtobufError::Truncated);
        }
        let (head, tail) = self.bytes.split_at(length);
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Truncated)
    }

    /// Skips to the end of a group whose start tag was read; iterative, so depth costs nothing.
    fn skip_group(&mut self) -> Result<(), ProtobufError> {
        let mut open = 1_usize;
        while open > 0 {
            match self.tag()?.1 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                    self.take(length)?;
                }
                3 => open += 1,
                4 => open -= 1,
                5 => drop(self.take(4)?),
                other => return Err(ProtobufError::IllegalWireType(other)),
            }
        }
        Ok(())
    }
}
