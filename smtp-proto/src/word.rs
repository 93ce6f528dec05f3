//! Words of the protocol, which are in any case of their letters.

/// Whether `text` is `word`, which is written in capitals here, as nearly everybody writes it: then one comparison of
/// two numbers tells.
#[inline]
pub(crate) fn is_word<const N: usize>(text: &[u8], word: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(text).is_ok_and(|text| text == word || text.eq_ignore_ascii_case(word))
}
