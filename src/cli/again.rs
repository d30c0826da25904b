//! The options of the commands that go on with a run, or do a part of it once more.

use std::ffi::OsString;

use clap::Args;

use super::limits::Limits;
use super::{RunOptions, Show};

/// The run that is meant.
#[derive(Debug, Clone, Args)]
pub struct RunOperand {
    /// The run: its id below the state directory, or the path of its directory.
    #[arg(value_name = "RUN")]
    pub name: OsString,
}

/// `pmirror resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The run.
    #[command(flatten)]
    pub of: RunOperand,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options that hold the run back.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,
}

/// `pmirror retry`.
#[derive(Debug, Args)]
pub struct Retry {
    /// The run.
    #[command(flatten)]
    pub of: RunOperand,

    /// Only what failed with this error, such as EDQUOT; may be given several times.
    #[arg(long, value_name = "ERRNO", value_parser = errno)]
    pub errno: Vec<String>,

    /// Only this path below SRC and what lies below it; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub under: Vec<OsString>,

    /// Options for what is shown.
    #[command(flatten, next_help_heading = "What is shown")]
    pub show: Show,

    /// Options for how the run goes.
    #[command(flatten, next_help_heading = "How it runs")]
    pub run: RunOptions,

    /// Options that hold the run back.
    #[command(flatten, next_help_heading = "Holding back")]
    pub limits: Limits,
}

/// The name of an error number, as errno(3) has it.
pub(super) fn errno(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let last = 133;
    let is_known = (1..=last).any(|number| format!("{:?}", nix::errno::Errno::from_raw(number)) == name);
    if is_known { Ok(name) } else { Err("not the name of an error, such as EACCES, EDQUOT or EIO".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_as_in_the_fault_list() {
        assert_eq!(errno("EDQUOT"), Ok("EDQUOT".to_owned()));
        assert_eq!(errno("eacces"), Ok("EACCES".to_owned()));
        for bad in ["", "13", "EWRONG", "UnknownErrno"] {
            assert!(errno(bad).is_err(), "{bad}");
        }
    }
}
