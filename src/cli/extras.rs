//! Options for what only some file systems have.

use clap::{Args, ValueEnum};

use crate::tree::Extras as Kept;

/// What only some file systems have.
#[derive(Debug, Args)]
pub struct Extras {
    /// The layout (striping) of new files: that of their source, where SRC and DST have layouts as on
    /// Lustre, or the default of their directory.
    #[arg(long, value_enum, default_value_t = Layout::Keep, env = "PMIRROR_LAYOUT")]
    pub layout: Layout,

    /// Do not set project ids and the flag by which they are inherited.
    #[arg(long, env = "PMIRROR_NO_PROJECT")]
    pub no_project: bool,
}

/// Which layout new files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// The source's.
    Keep,
    /// The default where they are made.
    Default,
}

impl Extras {
    /// What is to be kept where both sides have it.
    pub fn kept(&self) -> Kept {
        Kept { layouts: self.layout == Layout::Keep, projects: !self.no_project }
    }
}
