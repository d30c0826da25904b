//! Options that hold the run back.

use clap::Args;

use crate::pass::limits::Rates;

/// What the whole job may use, however many ranks it has.
#[derive(Debug, Args)]
pub struct Limits {
    /// Bytes of file content a second for the whole job, such as 100M/s or 2.5GB/s: K, M, G and T
    /// are powers of 1024, KB, MB, GB and TB of 1000.
    #[arg(long, value_name = "RATE", value_parser = bytes_a_second, env = "PMIRROR_BWLIMIT")]
    pub bwlimit: Option<u64>,

    /// Operations a second for the whole job, such as 5000/s or 20k/s: names that are looked at,
    /// and reads and writes of a piece of a file (1 MiB).
    #[arg(long, value_name = "N/s", value_parser = operations_a_second, env = "PMIRROR_OPS_LIMIT")]
    pub ops_limit: Option<u64>,
}

impl Limits {
    /// The rates that they stand for.
    pub fn rates(&self) -> Rates {
        let none = Rates::UNLIMITED;
        Rates { bytes: self.bwlimit.unwrap_or(none.bytes), operations: self.ops_limit.unwrap_or(none.operations) }
    }
}

const BYTES_REMEDY: &str = "a rate wants a unit: 100M/s, 100MiB/s, 1G/s or 800KB/s";
const OPERATIONS_REMEDY: &str = "a rate wants a unit: 5000/s or 20k/s";
const NOTHING: &str = "with that nothing would ever be done; without the option there is no limit";

pub(super) fn bytes_a_second(text: &str) -> Result<u64, String> {
    let amount = strip_ending(text, "/s").unwrap_or(text);
    let (number, unit) =
        amount.split_at(amount.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(amount.len()));
    let factor = match unit.to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(BYTES_REMEDY.to_owned()),
    };
    scaled(number, factor, BYTES_REMEDY)
}

pub(super) fn operations_a_second(text: &str) -> Result<u64, String> {
    let amount = strip_ending(text, "/s").ok_or(OPERATIONS_REMEDY)?;
    let (number, factor) = match (strip_ending(amount, "k"), strip_ending(amount, "m")) {
        (Some(number), _) => (number, 1e3),
        (_, Some(number)) => (number, 1e6),
        _ => (amount, 1.0),
    };
    scaled(number, factor, OPERATIONS_REMEDY)
}

/// Without this ending, in large or small letters.
fn strip_ending<'t>(text: &'t str, ending: &str) -> Option<&'t str> {
    let (front, end) = text.split_at_checked(text.len().checked_sub(ending.len())?)?;
    end.eq_ignore_ascii_case(ending).then_some(front)
}

fn scaled(number: &str, factor: f64, remedy: &str) -> Result<u64, String> {
    let is_plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = number.parse().ok().filter(|_| is_plain).ok_or(remedy)?;
    let rate = number * factor;
    if rate < 1.0 {
        return Err(NOTHING.to_owned());
    }
    // The largest stands for no limit; beyond it the conversion keeps the largest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(rate as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for (text, rate) in [
            ("100M/s", 100 << 20),
            ("100MiB/s", 100 << 20),
            ("1G", 1 << 30),
            ("1.5k/s", 1536),
            ("800KB/s", 800_000),
            ("2.5gb/S", 2_500_000_000),
            ("7B/s", 7),
        ] {
            assert_eq!(bytes_a_second(text), Ok(rate), "{text}");
        }
        for (text, rate) in [("5000/s", 5_000), ("20k/s", 20_000), ("1.5M/s", 1_500_000)] {
            assert_eq!(operations_a_second(text), Ok(rate), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_remedy() {
        for bad in ["100", "", "M", "100/s", "-1M", "1e9M", "1M/m", "1.2.3M", "100Mbit/s", "ü"] {
            assert_eq!(bytes_a_second(bad), Err(BYTES_REMEDY.to_owned()), "{bad}");
        }
        for bad in ["100", "", "/s", "k/s", "-5/s", "5/m", "inf/s", "ü"] {
            assert_eq!(operations_a_second(bad), Err(OPERATIONS_REMEDY.to_owned()), "{bad}");
        }
        assert_eq!(bytes_a_second("0M/s"), Err(NOTHING.to_owned()));
        assert_eq!(operations_a_second("0/s"), Err(NOTHING.to_owned()));
    }
}
