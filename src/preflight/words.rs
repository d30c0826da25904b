//! Amounts as people read them.

use bytesize::ByteSize;

/// Bytes, in powers of 1024.
pub fn amount(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// A number with a comma after each three digits.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let comma = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    let letter = |(index, digit): (usize, char)| if comma(index) { format!(",{digit}") } else { digit.to_string() };
    digits.chars().enumerate().map(letter).collect()
}

/// So many of something.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            (plural(1, "file", "files"), plural(2_000, "file", "files")),
            ("1 file".into(), "2,000 files".into())
        );
    }
}
