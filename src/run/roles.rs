//! What the operator's file says of file systems, held against what a rank has opened: whether a target may be one, and
//! whether it is the file system that was meant. By what is open, not by its name, and before anything is made.

use super::agree::Roster;
use super::begin::{Names, broken};
use crate::config::{Command, Config};
use crate::fault::{Error, Failure, Side};
use crate::fs::place::{Place, is_absent};
use crate::fs::roots::{self, Root};
use crate::fs::{Fd, operator};
use crate::settings::{FileSystem, FileSystems};
use crate::tree::path::escaped;

/// A root as a rank sees it.
struct Tree<'t> {
    side: Side,
    /// For people.
    name: String,
    /// The root; of one that is not there the directory in which it is to be made.
    directory: &'t Fd,
    /// Its absolute path.
    path: Vec<u8>,
    /// It is there.
    exists: bool,
    /// This node.
    host: &'t str,
    /// What the file says.
    named: &'t FileSystems,
}

/// Where a file system and a tree lie to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    /// The tree is the file system, or lies in it.
    Around,
    /// The file system lies in the tree.
    Within,
}

/// Refuses a SRC that is not what the file says.
pub fn check_source(config: &Config, roster: &Roster, names: &Names, source: &Root) -> Result<(), Error> {
    let (path, host, named) = (operator::path_of(&source.fd), roster.host(), &config.file_systems);
    let name = format!("SRC {}", names.source);
    Tree { side: Side::Source, name, directory: &source.fd, path, exists: true, host, named }.check()
}

/// Refuses a DST, or a tree that is to be removed, that must not be written, or is not what the file says.
pub fn check_target(config: &Config, roster: &Roster, names: &Names, target: &Root) -> Result<(), Error> {
    let what = if config.command == Command::RmTree { "the tree" } else { "DST" };
    check_opened(&config.file_systems, roster, format!("{what} {}", names.target), target)
}

/// The same for a command that has no `Config`.
pub fn check_opened(named: &FileSystems, roster: &Roster, name: String, target: &Root) -> Result<(), Error> {
    let (path, host) = (operator::path_of(&target.fd), roster.host());
    Tree { side: Side::Target, name, directory: &target.fd, path, exists: true, host, named }.check()
}

/// The same for a DST that is still to be made.
pub fn check_new_target(config: &Config, roster: &Roster, names: &Names) -> Result<(), Error> {
    // A parent that can not be opened is refused where DST would be made.
    let Some((parent, path)) = roots::target_parent(&config.target).zip(roots::would_be(&config.target)) else {
        return Ok(());
    };
    let (name, host, named) = (format!("DST {}", names.target), roster.host(), &config.file_systems);
    Tree { side: Side::Target, name, directory: &parent, path, exists: false, host, named }.check()
}

impl Tree<'_> {
    fn check(&self) -> Result<(), Error> {
        let lost = |failure: Failure| broken("a file system of pmirror.toml", failure);
        let mut around: Vec<(&FileSystem, Place)> = Vec::new();
        for file_system in &self.named.all {
            match Place::open(&file_system.path) {
                Err(failure) => self.judge_unseen(file_system, failure)?,
                Ok(place) if place.holds(self.directory).map_err(lost)? => around.push((file_system, place)),
                Ok(place) if self.exists && place.lies_in(self.directory).map_err(lost)? => {
                    self.judge(file_system, &place, Lies::Within)?;
                }
                Ok(_) => {}
            }
        }
        for (file_system, place) in &around {
            let holds = |other: &Place| place.holds_another(other).unwrap_or(false);
            // Of file systems in each other the innermost counts.
            if !around.iter().any(|(_, other)| holds(other)) {
                self.judge(file_system, place, Lies::Around)?;
            }
        }
        Ok(())
    }

    /// A file system that the tree has to do with.
    fn judge(&self, file_system: &FileSystem, place: &Place, lies: Lies) -> Result<(), Error> {
        let lost = |failure: Failure| broken(&shown(file_system), failure);
        self.judge_role(file_system, lies)?;
        let (file, host, name) = (self.named.file(), self.host, shown(file_system));
        if file_system.mount && !place.is_mount_point().map_err(lost)? {
            return Err(Error::Refused(format!("{name} is not mounted on {host}: mount it")));
        }
        let found = match lies {
            Lies::Around => roots::fs_type(self.directory),
            Lies::Within => place.fs_type(),
        };
        let found = found.map_err(lost)?;
        if let Some(wanted) = file_system.fs_type.filter(|wanted| *wanted != found) {
            let (wanted, found) = (roots::fs_type_name(wanted), roots::fs_type_name(found));
            let what = if lies == Lies::Around { &self.name } else { &name };
            let whose = format!("type = \"{wanted}\" of {name}");
            return Err(Error::Refused(format!(
                "{what} is {found} on {host}, and {file} says {whose}: is it mounted?"
            )));
        }
        match &file_system.sentinel {
            Some(sentinel) if !place.has(sentinel).map_err(lost)? => Err(Error::Refused(format!(
                "{name} has no {} on {host}, which tells that it is there: is it mounted?",
                escaped(sentinel.as_bytes())
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a target may be there.
    fn judge_role(&self, file_system: &FileSystem, lies: Lies) -> Result<(), Error> {
        if self.side == Side::Source || file_system.write {
            return Ok(());
        }
        let (tree, file, name) = (&self.name, self.named.file(), shown(file_system));
        let lies = if lies == Lies::Around { "lies in" } else { "holds" };
        Err(Error::Refused(format!(
            "{tree} {lies} {name}, of which {file} does not say write = true: are SRC and DST exchanged?"
        )))
    }

    /// A file system that can not be opened here: all that is left to go by are names.
    fn judge_unseen(&self, file_system: &FileSystem, failure: Failure) -> Result<(), Error> {
        let lies = match (is_below(&self.path, &file_system.path), is_below(&file_system.path, &self.path)) {
            (true, _) => Lies::Around,
            (_, true) => Lies::Within,
            _ => return Ok(()),
        };
        let FileSystem { mount, fs_type, sentinel, .. } = file_system;
        let asks = *mount || lies == Lies::Around && (fs_type.is_some() || sentinel.is_some());
        if is_absent(failure) && lies == Lies::Within && !mount {
            return Ok(());
        }
        self.judge_role(file_system, lies)?;
        if is_absent(failure) && !asks {
            return Ok(());
        }
        let why = nix::errno::Errno::from_raw(failure.errno).desc();
        let (name, host) = (shown(file_system), self.host);
        Err(Error::Refused(format!("{name} can not be opened on {host}: {why}; is it mounted there?")))
    }
}

fn shown(file_system: &FileSystem) -> String {
    format!("the file system {} at {}", file_system.name, escaped(&file_system.path))
}

/// Whether a path is another, or lies below it.
fn is_below(path: &[u8], above: &[u8]) -> bool {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_whole_names_only() {
        assert!(is_below(b"/panda/x", b"/panda") && is_below(b"/panda", b"/panda") && is_below(b"/x", b"/"));
        assert!(!is_below(b"/pandas", b"/panda") && !is_below(b"/panda", b"/panda/x"));
    }
}
