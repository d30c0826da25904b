//! `pmirror mtimes`: begin, walk directories and settle them, sum up.

use super::{Circumstances, Conclusion};
use crate::comm::Comm;
use crate::config::Config;
use crate::fault::Error;

/// `pmirror mtimes`.
pub fn mtimes(_: &Config, _: &mut dyn Comm, _: Circumstances) -> Conclusion {
    Error::Usage("mtimes is not there yet".to_owned()).into()
}
