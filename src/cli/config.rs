//! The options of `pmirror config`.

use std::ffi::OsString;

use clap::Args;

/// `pmirror config`.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// Print a commented pmirror.toml to begin with.
    #[arg(long, conflicts_with_all = ["show", "json", "words"])]
    pub example: bool,

    /// Print every value and where it came from: command line, environment, line of the file, default.
    #[arg(long, required_unless_present = "example")]
    pub show: bool,

    /// Print that as JSON.
    #[arg(long)]
    pub json: bool,

    /// A command, if only its options are wanted; what stands behind it is its own command line, as in
    /// `pmirror config --show sync -c panda:/x badger:/x`.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub words: Vec<OsString>,
}
