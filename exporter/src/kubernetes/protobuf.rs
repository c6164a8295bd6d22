//! Reads Protocol Buffers as they stand on the wire: as much as the kubelet's answer needs.
//!
//! Pure. What a message means is not known here. Caller: `podresources`.

/// A message that breaks the format, or has text that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The fields of a message, in their order.
pub struct Fields<'a>(&'a [u8]);

/// A field: its number, and its bytes where it holds text or a message; numbers are skipped.
pub type Field<'a> = (u64, Option<&'a [u8]>);

/// The fields of this message.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

/// A field's bytes as text.
pub fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // Nothing behind it can be read.
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        let bytes = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.varint()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            // Groups are not used any more.
            _ => return None,
        };
        Some((tag >> 3, bytes))
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits in a byte, the lowest first; ten bytes at most.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], want: &[Result<Field<'_>, Malformed>]) {
        assert_eq!(fields(message).collect::<Vec<_>>(), want);
    }

    #[test]
    fn fields_are_read_in_order_and_numbers_skipped() {
        check(&[], &[]);
        check(b"\x0a\x02ab\x12\0", &[Ok((1, Some(b"ab"))), Ok((2, Some(b"")))]);
        check(b"\x08\x96\x01\x0a\x01a", &[Ok((1, None)), Ok((1, Some(b"a")))]);
        check(b"\x0912345678\x0d1234", &[Ok((1, None)), Ok((1, None))]);
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        for message in [
            &b"\x0a"[..],
            b"\x0a\x03ab",
            b"\x80",
            b"\x09123",
            b"\x0d1",
            b"\x0b",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            check(message, &[Err(Malformed)]);
        }
        check(&[0xff; 11], &[Err(Malformed)]);
    }
}
