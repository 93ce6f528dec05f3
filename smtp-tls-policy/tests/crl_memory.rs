//! What a long revocation list costs: memory in proportion to its length, while it is read and
//! afterwards.

mod common;

use common::cost::ends;
use common::*;
use smtp_tls_policy::pki::Crl;

/// Octets of the table for each entry, at most: slots of eight, one third to two thirds of them in
/// use.
const TABLE: usize = 24;
/// While the list is read, the place of each entry is written down: four octets, in a vector that
/// doubles.
const READING: usize = 12;
const REST: usize = 4096;

fn list(entries: &[Vec<u8>]) -> Vec<u8> {
    RawCrl::new().number(1).entries(entries).signed_by(&Authority::new("Root"))
}

#[test]
fn memory_is_linear() {
    for count in [10usize, 1_000, 100_000] {
        let serial =
            |n: usize| u64::try_from(n).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let entries: Vec<_> =
            (0..count).map(|n| entry(&[&[1][..], &serial(n)].concat(), &[])).collect();
        let der = list(&entries);
        let mut crl = None;
        let cost = allocation_counter::measure(|| crl = Some(Crl::from_der(&der)));
        assert_eq!(crl.unwrap().unwrap().len(), count);
        let kept = usize::try_from(cost.bytes_current).unwrap();
        let peak = usize::try_from(cost.bytes_max).unwrap();
        assert!(
            kept <= der.len() + TABLE * count + REST,
            "{count}: {kept} octets kept of {}",
            der.len()
        );
        assert!(
            peak <= der.len() + (TABLE + READING) * count + REST,
            "{count}: {peak} octets at once"
        );
        // No allocation an entry.
        assert!(cost.count_total < 100, "{count}: {} allocations", cost.count_total);
    }
}

/// The shortest entry there is, which is none, and the shortest that is one, as many as there is
/// room for.
#[test]
fn the_shortest_entries_cost_no_more() {
    let empty = vec![tlv(0x30, &[]); 100_000];
    let der = list(&empty);
    let mut crl = None;
    let cost = allocation_counter::measure(|| crl = Some(Crl::from_der(&der)));
    assert!(crl.unwrap().is_err());
    assert!(cost.bytes_max < 1024, "{} octets for a list that is refused", cost.bytes_max);

    // All the same number: the table does not grow, and no chain in it either.
    let der = list(&vec![entry(&[1], &[]); 1_000_000]);
    assert!(ends("equal numbers", move || Crl::from_der(&der).unwrap().lists(&[1])));
}
