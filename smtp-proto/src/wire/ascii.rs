//! Keywords of the protocol, in any case of letters, and its numbers.

/// Whether `text` is `word`, in any case of letters. `word` is in capitals, as nearly all peers
/// write it; in that case one comparison of two numbers is enough.
#[inline]
pub(crate) fn is_word<const N: usize>(text: &[u8], word: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(text).is_ok_and(|text| text == word || text.eq_ignore_ascii_case(word))
}

/// Reads one to twenty digits. A number over 64 bits becomes the largest one.
#[inline]
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let number = digits.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    });
    number.filter(|_| (1..=20).contains(&digits.len()))
}

pub(crate) fn push_number(output: &mut Vec<u8>, value: impl Into<u64>) {
    let mut value: u64 = value.into();
    if value < 10 {
        return output.push(b'0' + value as u8);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
}

/// Appends the parts of a command.
pub(crate) fn put(output: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
}
