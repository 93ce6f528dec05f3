//! Text from peers that is safe to show to a person.

/// Whether a character is not seen where it is shown, and may change how the text around it is
/// read or what a terminal does: control characters, the formats that change the direction of text
/// (Unicode Standard Annex 9), line and paragraph separators, interlinear annotations, and what is
/// ignored by default (Unicode Standard Annex 44, `Default_Ignorable_Code_Point`), such as the
/// zero-width characters, tags and variation selectors.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text with U+FFFD in place of each character that [is hidden](is_hidden). Line ends are among
/// them, so that the result is one line.
///
/// ```
/// use smtp_tls_policy::visible;
///
/// let reply = "550 \u{1b}[2Jno such user \u{202e}moc.knab\nin order";
/// assert_eq!(visible(reply), "550 \u{fffd}[2Jno such user \u{fffd}moc.knab\u{fffd}in order");
/// ```
pub fn visible(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
