//! The options of `explain`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// `pmirror explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The run: its id below the state directory, or the path of its directory [default: the newest].
    #[arg(value_name = "RUN")]
    pub run: Option<OsString>,

    /// So many causes are told, the largest first.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), env = "PMIRROR_TOP")]
    pub top: u32,

    /// Where runs keep their records [default: pmirror-runs in the current directory].
    #[arg(long, value_name = "DIR", env = "PMIRROR_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print it as JSON.
    #[arg(long, env = "PMIRROR_JSON")]
    pub json: bool,
}
