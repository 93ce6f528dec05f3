//! `smtp-proto`.

mod body;
mod command;
mod pair;
mod reply;
mod sasl;
mod surplus;

pub use body::body;
pub use command::command;
pub use pair::pair;
pub use reply::reply;
pub use sasl::sasl;
pub use surplus::surplus;

/// Sizes of pieces from one byte of the input: 0 is everything at once, 1 byte by byte, else
/// random-looking.
fn sizes(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed) | 0x100;
    std::iter::repeat_with(move || match seed {
        0 => usize::MAX,
        1 => 1,
        _ => {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            1 + (state % 23) as usize
        }
    })
}

/// Takes the first byte as the seed of a fragmentation.
fn split_seed(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(&seed, rest)| (seed, rest))
}
