//! What is read of the records of runs, without any rank: what `pmirror explain` and `pmirror status` go by. Nothing
//! here writes.

mod besides;
mod causes;
mod ending;
mod explain;
mod explain_text;
mod groups;
mod job;
mod list;
mod run;
mod status;
mod subtrees;
mod view;
mod watch;
mod words;

pub use explain::explain;
pub use status::status;
