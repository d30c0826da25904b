//! The options of `status`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// `pmirror status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The run: its id below the state directory, or the path of its directory [default: the newest].
    #[arg(value_name = "RUN")]
    pub run: Option<OsString>,

    /// Show it until the run ends. q or Ctrl-C leaves the view, and never stops the run.
    #[arg(short, long, env = "PMIRROR_WATCH")]
    pub watch: bool,

    /// Where runs keep their records [default: pmirror-runs in the current directory].
    #[arg(long, value_name = "DIR", env = "PMIRROR_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print it as JSON; with --watch an object a line, whenever something has changed.
    #[arg(long, env = "PMIRROR_JSON")]
    pub json: bool,
}
