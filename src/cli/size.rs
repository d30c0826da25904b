//! Sizes on the command line, as rsync reads them: K, M and so on are powers of 1024, KB and MB of 1000.

/// A size in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let is_letter = |letter: char| matches!(letter.to_ascii_uppercase(), 'K' | 'M' | 'G' | 'T' | 'P' | 'E');
    let whole = if text.ends_with(is_letter) { format!("{text}iB") } else { text.to_owned() };
    let parsed: Result<bytesize::ByteSize, _> = whole.parse();
    parsed.map(|size| size.as_u64()).map_err(|_| format!("'{text}' is no size: say 4096, 512K, 64M or 1.5GiB"))
}

/// A size that says its unit: a number alone is a slip of the pen where all that is sensible is large.
pub fn with_unit(text: &str) -> Result<u64, String> {
    if text.ends_with(|letter: char| letter.is_ascii_digit()) {
        return Err(format!("'{text}' has no unit: say 512M or 4G"));
    }
    some_size(text)
}

/// A size that is not 0.
pub fn some_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("0 is no size here".to_owned()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_rsync() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("512K"), Ok(512 << 10));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5G"), Ok(3 << 29));
        assert_eq!(size("1MB"), Ok(1_000_000));
        for bad in ["", "K", "-1", "ten", "10X", "1 0"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(some_size("0").is_err());
        assert_eq!(with_unit("256M"), Ok(256 << 20));
        assert!(with_unit("256").is_err() && with_unit("0M").is_err());
    }
}
