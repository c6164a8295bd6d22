//! Breaks good inputs, the same way in every run.

/// A sequence of numbers without a pattern.
pub struct Dice(u64);

impl Dice {
    /// Begins at a place that is a target's own.
    pub fn of(name: &str) -> Self {
        Self(
            name.bytes().fold(0x9e37_79b9_7f4a_7c15, |sum, byte| {
                (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            }),
        )
    }

    /// A number below another.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}

/// What means something in one of the formats.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"&a",
    b"*a",
    b": ",
    b"- ",
    b"#",
    b"|",
    b"/",
    b"..",
    b"=",
    b",",
    b"${",
    b"}",
    b"$$",
    b"?P<a>",
    b".*",
    b"{9}",
    b"-1",
    b"0",
    b"1e400",
    b"NaN",
    b"null",
    b"18446744073709551616",
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"0-99999",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"\x1b[31m",
    b"\xf0\x9f\x92\xa9",
    b"version",
    b"JobId=",
    b"kubepods",
    b"0::/",
    b"\x0a\xff\xff\xff\xff\x7f",
];

/// A seed, broken in one to six places.
pub fn broken(seeds: &[&[u8]], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].to_vec();
    for _ in 0..=dice.below(6) {
        let (from, to) = (dice.below(bytes.len() + 1), dice.below(bytes.len() + 1));
        let range = from.min(to)..from.max(to).min(from.min(to) + 64);
        match dice.below(8) {
            0 if !bytes.is_empty() => {
                let at = dice.below(bytes.len());
                bytes[at] = dice.byte();
            }
            1 => drop(bytes.drain(range)),
            2 => bytes.truncate(from),
            3 => {
                let copy = bytes[range].to_vec();
                let times = 1 + dice.below(4);
                bytes.splice(to..to, copy.repeat(times));
            }
            4 => {
                let other = seeds[dice.below(seeds.len())];
                let at = dice.below(other.len());
                bytes.splice(range, other[at..other.len().min(at + 64)].iter().copied());
            }
            5 => bytes.insert(from, dice.byte()),
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                let end = if dice.below(2) == 0 { range.start } else { range.end };
                bytes.splice(range.start..end, word.iter().copied());
            }
        }
    }
    bytes
}
