//! The rules: which calls are slow, fail, are cut short or hang. Pure.

use std::ffi::OsStr;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// An operation, as FUSE tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Lookup,
    Getattr,
    Setattr,
    Readlink,
    Mknod,
    Mkdir,
    Unlink,
    Rmdir,
    Symlink,
    Rename,
    Link,
    /// For reading.
    Open,
    /// For writing; a rule for `open` means it too.
    OpenWrite,
    Read,
    Write,
    Flush,
    Release,
    Fsync,
    Opendir,
    Readdir,
    Releasedir,
    Fsyncdir,
    Statfs,
    Setxattr,
    Getxattr,
    Listxattr,
    Removexattr,
    Create,
    Fallocate,
    Lseek,
    CopyFileRange,
}

impl Operation {
    /// Whether it would change something: what a read-only file system refuses.
    pub fn modifies(self) -> bool {
        use Operation::{
            CopyFileRange, Create, Fallocate, Link, Mkdir, Mknod, OpenWrite, Removexattr, Rename, Rmdir, Setattr,
            Setxattr, Symlink, Unlink, Write,
        };
        matches!(
            self,
            Setattr | Mknod | Mkdir | Unlink | Rmdir | Symlink | Rename | Link | OpenWrite | Write | Setxattr
        ) || matches!(self, Removexattr | Create | Fallocate | CopyFileRange)
    }
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Group {
    All,
    Modifying,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Class {
    Group(Group),
    Operation(Operation),
}

impl Class {
    fn holds(self, operation: Operation) -> bool {
        match self {
            Class::Group(Group::All) => true,
            Class::Group(Group::Modifying) => operation.modifies(),
            Class::Operation(Operation::Open) => matches!(operation, Operation::Open | Operation::OpenWrite),
            Class::Operation(mine) => mine == operation,
        }
    }
}

/// A rule as it is given: a line of JSON. It counts the calls that it is about, and strikes at some.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Operations, `all`, or `modifying`.
    operations: Vec<Class>,
    /// A glob that the last component of the path must match.
    name: Option<String>,
    /// So many calls pass before the rule begins.
    #[serde(default)]
    after: u64,
    /// From there on every so many-th call is struck: 1, all of them.
    #[serde(default = "one")]
    every: u64,
    /// So many calls are struck, then no more.
    first: Option<u64>,
    /// What it costs.
    #[serde(default)]
    latency_us: u64,
    /// The error that is answered in place of the work.
    errno: Option<i32>,
    /// A read or write moves at most so many bytes.
    bytes_max: Option<usize>,
    /// The call waits until the rule is lifted.
    #[serde(default)]
    hang: bool,
}

fn one() -> u64 {
    1
}

/// A rule in force.
#[derive(Debug)]
pub struct Active {
    /// Its number, by which it is lifted.
    pub id: u64,
    rule: Rule,
    name: Option<GlobMatcher>,
    met: u64,
    struck: u64,
}

/// What is to become of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Latencies of all rules add up.
    pub latency: Duration,
    /// The first rule with an error has its way.
    pub errno: Option<i32>,
    /// The smallest limit.
    pub bytes_max: Option<usize>,
    /// Rules that must be lifted before the call goes on.
    pub hangs_by: Vec<u64>,
}

impl Active {
    /// Checks a rule.
    pub fn new(id: u64, rule: Rule) -> Result<Self, String> {
        if rule.every == 0 || rule.bytes_max == Some(0) || rule.errno.is_some_and(|errno| errno <= 0) {
            return Err("every, bytes_max and errno begin at 1".to_owned());
        }
        let glob = |glob: &String| GlobBuilder::new(glob).literal_separator(true).build();
        let name = rule.name.as_ref().map(glob).transpose().map_err(|error| error.to_string())?;
        let name = name.map(|glob| glob.compile_matcher());
        Ok(Self { id, rule, name, met: 0, struck: 0 })
    }

    /// Counts the call; true when it is struck.
    fn strikes(&mut self, operation: Operation, name: &OsStr) -> bool {
        let meant = self.rule.operations.iter().any(|class| class.holds(operation));
        if !meant || self.name.as_ref().is_some_and(|glob| !glob.is_match(name)) {
            return false;
        }
        self.met += 1;
        let begun = self.met > self.rule.after && (self.met - self.rule.after).is_multiple_of(self.rule.every);
        let strikes = begun && self.rule.first.is_none_or(|first| self.struck < first);
        self.struck += u64::from(strikes);
        strikes
    }
}

/// Judges a call by all rules.
pub fn judge(rules: &mut [Active], operation: Operation, name: &OsStr) -> Verdict {
    let mut verdict = Verdict::default();
    for active in rules {
        if !active.strikes(operation, name) {
            continue;
        }
        verdict.latency += Duration::from_micros(active.rule.latency_us);
        verdict.errno = verdict.errno.or(active.rule.errno);
        verdict.bytes_max = [verdict.bytes_max, active.rule.bytes_max].into_iter().flatten().min();
        if active.rule.hang {
            verdict.hangs_by.push(active.id);
        }
    }
    verdict
}
