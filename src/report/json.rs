//! JSON that can be shown on a terminal: what a terminal acts on is escaped, as JSON allows it.

use serde::Serialize;

use crate::tree::path::is_harmful;

/// On one line.
pub fn compact(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(harmless)
}

/// For people.
pub fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(harmless)
}

/// Outside of strings JSON is plain ASCII, and in them serde escapes what is below the space.
fn harmless(json: String) -> String {
    let acts = |c: char| c != '\n' && is_harmful(c);
    if !json.contains(acts) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_comes_back() {
        let value = ["\x1b[2J\n", "\u{9b}2J\u{7f}", "\u{202e}\u{e0001}", "größe"];
        for json in [compact(&value).unwrap(), pretty(&value).unwrap()] {
            assert!(!json.contains(|c: char| c != '\n' && is_harmful(c)), "{json:?}");
            assert!(json.contains("größe") && json.contains("\\u009b2J\\u007f"), "{json}");
            assert_eq!(serde_json::from_str::<[String; 4]>(&json).unwrap(), value);
        }
    }
}
