//! Eight bytes at a time, in one register: which of them are looked for.
//!
//! A block is eight bytes in little-endian order. What the functions return has the highest bit of
//! each byte set that is looked for. The lowest set bit is always right; above it there may be bits
//! too many, because a subtraction borrows from the byte above. So only [`place`], the lowest, is asked
//! for, and a search that goes on begins anew behind it.

pub(crate) const BYTES: usize = 8;

const EACH: u64 = u64::from_ne_bytes([1; BYTES]);
const HIGHEST: u64 = EACH << 7;

/// The block at `at`; `None` if fewer bytes are left.
#[inline]
pub(crate) fn block(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The block at `at`, with zeros where `text` has ended.
#[inline(always)]
pub(crate) fn load(text: &[u8], at: usize) -> u64 {
    match block(text, at) {
        Some(block) => block,
        None => last(text, at),
    }
}

#[cold]
#[inline(never)]
fn last(text: &[u8], at: usize) -> u64 {
    let mut block = [0; BYTES];
    block.iter_mut().zip(text.iter().skip(at)).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(block)
}

/// Which byte of the block the lowest bit stands for; 8 if there is none.
#[inline]
pub(crate) fn place(found: u64) -> usize {
    found.trailing_zeros() as usize / 8
}

#[inline]
pub(crate) fn equal(block: u64, byte: u8) -> u64 {
    let zero = block ^ (EACH * u64::from(byte));
    zero.wrapping_sub(EACH) & !zero & HIGHEST
}

/// What is no decimal digit.
#[inline]
pub(crate) fn no_digit(block: u64) -> u64 {
    // Digits become 0 to 9; only a byte that is none carries into the one above.
    let value = block ^ (EACH * u64::from(b'0'));
    (value.wrapping_add(EACH * (127 - 9)) | value) & HIGHEST
}

/// Whether the low `len` bytes are the same; 1 to 8.
#[inline]
pub(crate) fn same(one: u64, other: u64, len: usize) -> bool {
    (one ^ other) << (64 - 8 * len) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_is_right_whatever_stands_around_it() {
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Bytes near each other, so that many are equal.
            let bytes = (state ^ state >> 29).to_le_bytes().map(|byte| byte & 0x8f | 0x20);
            let block = u64::from_le_bytes(bytes);
            let first = |looked_for: &dyn Fn(u8) -> bool| {
                bytes.iter().position(|byte| looked_for(*byte)).unwrap_or(BYTES)
            };
            let byte = bytes[(state >> 60) as usize % BYTES];
            assert_eq!(place(equal(block, byte)), first(&|other| other == byte), "{bytes:x?}");
            let digits = u64::from_le_bytes(bytes.map(|byte| byte ^ 0x10));
            let none = |other: u8| !(other ^ 0x10).is_ascii_digit();
            assert_eq!(place(no_digit(digits)), first(&none), "{bytes:x?}");
        }
        assert!(same(u64::from_le_bytes(*b"abcdefgh"), u64::from_le_bytes(*b"abcdxxxx"), 4));
        assert!(!same(u64::from_le_bytes(*b"abcdefgh"), u64::from_le_bytes(*b"abcdxxxx"), 5));
        assert_eq!(block(b"1234567", 0), None);
        assert_eq!(block(b"12345678", 1), None);
        assert_eq!(load(b"12345678", 1).to_le_bytes(), *b"2345678\0");
        assert_eq!(load(b"1", 2), 0);
    }
}
