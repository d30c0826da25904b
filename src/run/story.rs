//! Where in its story a run is, and what it knows by then that its passes do not: kept with each checkpoint.

use bincode::{Decode, Encode};

use super::begin::Begun;
use super::prune::Judged;
use crate::config::Config;
use crate::pass::temporary::Attempt;
#[cfg(test)]
use crate::tree::TreePath;
#[cfg(test)]
use crate::tree::guard::{HeldTree, Loss, TooMany, Verdict};
use crate::tree::listed::Extent;
use crate::tree::{Identity, Time};

/// A stage of a run, in the order in which they come. In each of them items are done to global quiescence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Stage {
    /// Both trees are walked.
    Walk,
    /// What is to be removed is looked for, where the walk could not tell yet.
    Plan,
    /// Inodes with several names have their turns, from 0. Not where some name waits for `Again`.
    Links(u32),
    /// What only the target has is removed.
    Remove,
    /// Names are looked at once more whose place a directory had.
    Again,
    /// Inodes with several names have their turns then.
    LinksAgain(u32),
    /// Directories get their final metadata.
    Settle,
    /// Those that waited for what is below them do.
    SettleBelow,
}

/// A root, as all ranks of all attempts see it.
type RootIdentity = (Identity, u64);

/// What a checkpoint says of its run.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Story {
    /// Of pmirror: what it encodes is understood by the same version alone.
    version: String,
    /// Of the command, its operands and options.
    digest: u64,
    /// Of the patterns: the words of the command only name the files that they come from.
    patterns: u64,
    roots: [RootIdentity; 2],
    /// `--final`: the moment from which on nothing may change.
    pub frozen: Option<Time>,
    /// What of `--files-from` is listed, if only that is looked at.
    pub list: Option<Extent>,
    /// Attempts that ended in order: what they left on DST is what the checkpoint knows, and nothing else.
    pub suspended: Vec<Attempt>,
    /// Where the run is.
    pub stage: Stage,
    /// What the guards said, once they have.
    pub judged: Option<Judged>,
}

impl Story {
    /// A run that begins.
    pub fn new(config: &Config, begun: &Begun) -> Self {
        let roots = [&begun.root.source, begun.root.target.as_ref().unwrap_or(&begun.root.source)];
        let [source, target] = roots.map(|identity| *identity);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: config.started.digest(),
            patterns: begun.context.filter.digest(),
            roots: [(source, begun.fs_types.0), (target, begun.fs_types.1)],
            frozen: begun.context.frozen,
            list: begun.listed,
            suspended: Vec::new(),
            stage: Stage::Walk,
            judged: None,
        }
    }

    /// One that holds something of all, for the corpora.
    #[cfg(test)]
    pub fn sample() -> Self {
        let identity = Identity { inode: 7, birth: Some(Time::default()) };
        let held = HeldTree { path: TreePath::from(&b"d"[..]), loss: Loss { seen: 9, planned: 8 } };
        let too_many = Some(TooMany { planned: 8, seen: 9, limit: 1 });
        let verdict = Verdict { held: vec![held], too_many };
        Self {
            version: "0".to_owned(),
            digest: 1,
            patterns: 2,
            roots: [(identity, 0xEF53), (identity, 1)],
            frozen: Some(Time::default()),
            list: Some(Extent { start: 0, end: 9 }),
            suspended: vec![Attempt(5)],
            stage: Stage::LinksAgain(1),
            judged: Some(Judged {
                verdict,
                seen: 9,
                is_plan: true,
                refused: Some("no".to_owned()),
                staying: vec![TreePath::from(&b"d"[..])],
            }),
        }
    }

    /// What of another story is not that of this run, in words.
    pub fn differs_in(&self, other: &Story) -> Option<&'static str> {
        let [source, target] = [0, 1].map(|root| self.roots.get(root) == other.roots.get(root));
        match () {
            () if self.version != other.version => {
                Some("another version of pmirror took it: resume with that one, or run the first command again")
            }
            () if self.digest != other.digest => {
                Some("it was taken with other options, or for other trees: run the command that you mean")
            }
            () if self.patterns != other.patterns => Some(
                "--exclude-from holds other patterns than when the run began: give it the same, or run the command that \
                 you mean",
            ),
            () if !source => Some("SRC is another directory than it was: is the right one mounted?"),
            () if !target => Some("DST is another directory than it was: is the right one mounted?"),
            () => None,
        }
    }
}
