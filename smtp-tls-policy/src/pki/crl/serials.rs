//! The index over the serial numbers of a list.

use std::hash::{BuildHasher, RandomState};

use super::der::Reader;

/// The offsets of the entries' serial numbers in the list: a hash table with open addressing, at
/// most two thirds full.
///
/// A slot holds the offset of an INTEGER, and above it 32 bits of its hash, so that a look-up reads
/// the list itself only if they agree. A free slot is 0, since no serial number can be at offset 0.
pub(super) struct Serials {
    slots: Box<[u64]>,
    count: usize,
    hasher: RandomState,
}

const OFFSET: u64 = u32::MAX as u64;

impl Serials {
    /// Indexes the serial numbers at these offsets, each of which is that of a sound INTEGER.
    pub(super) fn new(der: &[u8], offsets: &[u32]) -> Self {
        let size = match offsets.len() {
            0 => 0,
            count => (count + count / 2 + 1).next_power_of_two(),
        };
        let mut index =
            Self { slots: vec![0; size].into(), count: offsets.len(), hasher: RandomState::new() };
        for &offset in offsets {
            let (slot, tag) = index.find(der, serial_at(der, offset));
            // Of a number that is listed twice the first place is kept.
            if index.slots[slot] == 0 {
                index.slots[slot] = tag | u64::from(offset);
            }
        }
        index
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Octets of memory of the table.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// Whether a serial number is in the list. The contents of both INTEGERs are compared as the
    /// shortest encoding.
    pub(super) fn contains(&self, der: &[u8], serial: &[u8]) -> bool {
        !self.slots.is_empty() && self.slots[self.find(der, shortest(serial)).0] != 0
    }

    /// The slot of this serial number, or the free one where it would be; and the upper half of
    /// its contents.
    fn find(&self, der: &[u8], serial: &[u8]) -> (usize, u64) {
        let mask = self.slots.len() - 1;
        let hash = self.hasher.hash_one(serial);
        let tag = hash & !OFFSET;
        let mut slot = usize::try_from(hash & OFFSET).unwrap_or(0) & mask;
        loop {
            match self.slots[slot] {
                0 => return (slot, tag),
                held if held & !OFFSET == tag && serial_at(der, held & OFFSET) == serial => {
                    return (slot, tag);
                }
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

fn serial_at(der: &[u8], offset: impl TryInto<usize>) -> &[u8] {
    let element = offset.try_into().ok().and_then(|offset| Reader::from(der, offset).next().ok());
    shortest(element.map_or(&[], |element| element.contents()))
}

/// Drops octets that only repeat the sign (X.690, section 8.3.2): some authorities write 0 in front
/// of each serial number.
fn shortest(mut serial: &[u8]) -> &[u8] {
    while let [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = serial {
        serial = &serial[1..];
    }
    serial
}
