//! How records are worded: names, numbers, and commands that a shell takes as they stand.

use indicatif::HumanCount;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::tree::path::{escaped, is_harmful};

/// A count with its word.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(n), if n == 1 { one } else { many })
}

/// A path below the roots for people; the root is `.`.
pub fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { escaped(path) }
}

/// A word as a shell reads it: bare where it may be, else quoted; what a terminal would act on is in octal.
pub fn quoted(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:,+@%=".contains(byte);
    match std::str::from_utf8(word) {
        Ok(text) if !word.is_empty() && word.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.chars().any(is_harmful) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => {
            // As bash, zsh and ksh have it.
            let byte = |&byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(byte)),
                b' '..=b'~' => char::from(byte).to_string(),
                _ => format!("\\{byte:03o}"),
            };
            format!("$'{}'", word.iter().map(byte).collect::<String>())
        }
    }
}

/// A time in whole words: 45 s, 12 min, 3 h 20 min, 2 days.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A moment as a clock on the wall shows it.
pub fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A share as people read it.
#[allow(clippy::cast_precision_loss)] // A share.
pub fn percent(part: u64, all: u64) -> String {
    let share = part as f64 * 100.0 / all.max(1) as f64;
    // All of it, and nothing less, is 100 %.
    if share >= 10.0 { format!("{} %", share.floor()) } else { format!("{share:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_the_shell_makes_of_it() {
        for word in
            [&b"a/b-c"[..], b"", b"a b", b"it's", b"$HOME;`x`", b"\xff'\\", b"new\nline\x1b[2J", "größe".as_bytes()]
        {
            let text = quoted(word);
            assert!(!text.contains(is_harmful), "{text}");
            let said = std::process::Command::new("bash").args(["-c", &format!("printf %s {text}")]).output().unwrap();
            assert_eq!(said.stdout, word, "{text}");
        }
    }

    #[test]
    fn times_and_shares_are_short() {
        assert_eq!([5, 119, 600, 12_000, 400_000].map(duration), ["5 s", "119 s", "10 min", "3 h 20 min", "4 days"]);
        assert_eq!([(1, 1), (999, 1000), (1, 1000)].map(|(part, all)| percent(part, all)), ["100 %", "99 %", "0.1 %"]);
    }
}
