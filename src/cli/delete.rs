//! Options that hold deletions back. None of them comes from the environment: sbatch hands a login shell's
//! to the job unseen.

use clap::Args;

use crate::tree::guard::{self, MaxDelete};

/// What holds deletions back.
#[derive(Debug, Args)]
pub struct Guards {
    /// Remove nothing if more than N entries, or P% of the entries of DST, would go [default: 10%, and
    /// never fewer than 1000].
    #[arg(long, value_name = "N|P%", value_parser = max_delete)]
    pub max_delete: Option<MaxDelete>,

    /// Hold a subtree back that would lose more than P% of its entries, and at least 1000; the rest
    /// goes on. 100% holds none [default: 50%].
    #[arg(long, value_name = "P%", value_parser = percent)]
    pub hold_threshold: Option<f64>,

    /// Remove from DST also what --exclude leaves out, whether SRC has it or not. Without this it stays.
    #[arg(long)]
    pub delete_excluded: bool,

    /// Remove nothing: rename what SRC does not have into DST/.pmirror/trash/RUN, a directory as a whole. `pmirror
    /// undelete` puts it back, `pmirror purge-trash` removes it. What can not be renamed stays.
    #[arg(long)]
    pub trash: bool,

    /// The subtrees are the directories at this depth below DST [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub hold_depth: Option<u32>,
}

impl Guards {
    /// The guards that they stand for.
    pub fn guards(&self) -> guard::Guards {
        let usual = guard::Guards::default();
        guard::Guards {
            max_delete: self.max_delete.unwrap_or_default(),
            hold_percent: self.hold_threshold.unwrap_or(usual.hold_percent),
            hold_depth: self.hold_depth.unwrap_or(usual.hold_depth),
        }
    }

    /// Whether any of them was given.
    pub fn is_any(&self) -> bool {
        self.max_delete.is_some() || self.hold_threshold.is_some() || self.hold_depth.is_some() || self.delete_excluded
    }
}

pub(super) fn max_delete(text: &str) -> Result<MaxDelete, String> {
    if text.ends_with('%') {
        return percent(text).map(MaxDelete::Percent);
    }
    let count = text.parse().map_err(|_| "say a number of entries, such as 5000, or a share, such as 10%")?;
    Ok(MaxDelete::Count(count))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or("a share wants its sign: 50%")?;
    let is_plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let percent: f64 = number.parse().ok().filter(|_| is_plain).ok_or("a share is a number from 0% to 100%")?;
    if percent > 100.0 {
        return Err("a share is a number from 0% to 100%".to_owned());
    }
    Ok(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        assert_eq!(max_delete("0"), Ok(MaxDelete::Count(0)));
        assert_eq!(max_delete("5000"), Ok(MaxDelete::Count(5_000)));
        assert_eq!(max_delete("12.5%"), Ok(MaxDelete::Percent(12.5)));
        for bad in ["", "%", "-1", "101%", "1e3", "NaN%", "ten", "5 %"] {
            assert!(max_delete(bad).is_err(), "{bad}");
        }
        assert!(percent("50").is_err());
    }
}
