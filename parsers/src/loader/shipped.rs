//! The packs inside the program: a quarter of their size, because they are read once.

use flate2::read::DeflateDecoder;
use std::io::Read as _;

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// All texts, one behind the other.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shipped.deflate"));

/// (name as diagnostics give it, text) of each pack, unpacked one at a time.
pub(super) fn packs() -> impl Iterator<Item = (&'static str, String)> {
    let mut reader = DeflateDecoder::new(PACKED);
    FILES.iter().map(move |(name, len)| {
        let mut text = String::with_capacity(*len);
        let read = (&mut reader).take(*len as u64).read_to_string(&mut text);
        read.expect("the build packed it");
        (*name, text)
    })
}
