//! Options for how entries are compared.

use clap::{Args, ValueEnum};

use crate::tree::decide::{ContentRule, CtimeRule};

/// How files are compared.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of the command line.
pub struct Compare {
    /// Compare the contents of files of equal size, instead of their modification times.
    #[arg(short = 'c', long, conflicts_with = "size_only", env = "PMIRROR_CHECKSUM")]
    pub checksum: bool,

    /// Files of equal size are equal; their times and other metadata are set where they differ.
    #[arg(long, env = "PMIRROR_SIZE_ONLY")]
    pub size_only: bool,

    /// Leave files alone that are newer on DST.
    #[arg(short = 'u', long, env = "PMIRROR_UPDATE")]
    pub update: bool,

    /// Modification times that differ by no more than this are equal [default: what DST's file system
    /// can tell apart].
    #[arg(long, value_name = "SECONDS", default_value = "0", hide_default_value = true, value_parser = window,
          env = "PMIRROR_MODIFY_WINDOW")]
    pub modify_window: u64,

    /// Where a source changed after its copy was made, although size and time are equal: compare and
    /// repair its metadata only, or its content too.
    #[arg(long, value_enum, default_value = "metadata", env = "PMIRROR_CTIME")]
    pub ctime: Ctime,

    /// SRC is frozen, nobody writes in it: what vanished or changed is a failure, and what changed
    /// after the start of the run is named.
    #[arg(long = "final", env = "PMIRROR_FINAL")]
    pub is_final: bool,
}

/// `--ctime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ctime {
    /// Owner, permissions, extended attributes and ACLs.
    Metadata,
    /// These and the content.
    Content,
}

impl Compare {
    /// What shows that a content is right.
    pub fn content_rule(&self) -> ContentRule {
        match (self.checksum, self.size_only) {
            (true, _) => ContentRule::Checksum,
            (_, true) => ContentRule::SizeOnly,
            _ => ContentRule::Times,
        }
    }

    /// What a newer ctime calls for.
    pub fn ctime_rule(&self) -> CtimeRule {
        match self.ctime {
            Ctime::Metadata => CtimeRule::Metadata,
            Ctime::Content => CtimeRule::Content,
        }
    }
}

/// Seconds with up to nine digits behind the point, as nanoseconds.
pub fn window(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is not a number of seconds such as 1 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || text.ends_with('.') || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(bad());
    }
    let seconds: u64 = whole.parse().map_err(|_| bad())?;
    let nanoseconds: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    // A day is more than any clock or file system is off.
    if seconds > 86_400 {
        return Err(format!("{text} s is more than a day"));
    }
    Ok(seconds * 1_000_000_000 + nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_number_of_seconds() {
        assert_eq!(window("0"), Ok(0));
        assert_eq!(window("2"), Ok(2_000_000_000));
        assert_eq!(window("0.001"), Ok(1_000_000));
        for bad in ["", "-1", "1s", "1.", ".5", "1e3", "0.0000000001", "99999999"] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }
}
