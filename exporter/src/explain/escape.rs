//! What a terminal must not see raw: a command line may hold anything, also sequences that the terminal would obey.

use serde::Serialize;

/// Whether a terminal would obey this character, or be misled by it about the order of the others.
fn is_unsafe(character: char) -> bool {
    let misleads =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || misleads
}

/// The text with such characters written out, as `\n` or `\u{1b}`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The value as JSON for people, with a line break at its end. JSON itself escapes only some of those characters.
///
/// # Errors
/// If the value cannot be written, which would be a bug.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        // Outside of strings the only one is the line break between the lines.
        if is_unsafe(character) && character != '\n' {
            // All of them are in the plane that one `\u` can name.
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(visible(text), want);
        let json = json(&[text]).expect("JSON");
        assert!(!json.trim_end().replace("\n ", "").replace("\n]", "").chars().any(is_unsafe), "{json:?}");
        let back: Vec<String> = serde_json::from_str(&json).expect("JSON");
        assert_eq!(back, [text]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out_and_json_keeps_it() {
        check("train.py --größe ⚡", "train.py --größe ⚡");
        check("\u{1b}[2J\u{7}", r"\u{1b}[2J\u{7}");
        check("\u{9b}31m\u{7f}", r"\u{9b}31m\u{7f}");
        check("a\nb\tc\r", r"a\nb\tc\r");
        check("\u{202e}yp.niart", r"\u{202e}yp.niart");
    }
}
