//! Reads what strace saw, and tells which calls could be led out of a tree by a link.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// strace's options: all threads, descriptors with their paths, and each call that takes a path.
pub const STRACE: [&str; 8] = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file"];

/// One call: its name and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<'l> {
    pub name: &'l str,
    pub arguments: Vec<&'l str>,
}

impl<'l> Call<'l> {
    /// From a line of strace, the number of the thread left out. `None` for ends of calls, signals and the like.
    pub fn parse(line: &'l str) -> Option<Call<'l>> {
        let (name, rest) = line.split_once('(')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || !is_name {
            return None;
        }
        Some(Call { name, arguments: arguments(rest.strip_suffix("<unfinished ...>").unwrap_or(rest)) })
    }

    fn has(&self, flag: &str) -> bool {
        self.arguments.iter().any(|argument| argument.split(['|', ' ', '=', ',', '{', '}']).any(|word| word == flag))
    }

    /// The path in an argument, undone of its quotes; nothing where it is none.
    fn path(&self, index: usize) -> Option<&'l str> {
        self.arguments.get(index)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// The directory of an open descriptor.
    fn directory(&self, index: usize) -> Option<&'l Path> {
        let (_, path) = self.arguments.get(index)?.split_once('<')?;
        Some(Path::new(path.split_once('>')?.0))
    }

    fn is_cwd(&self, index: usize) -> bool {
        self.arguments.get(index).is_some_and(|argument| argument.starts_with("AT_FDCWD"))
    }
}

/// Cuts at the commas that are in no quotes, brackets or path of a descriptor, up to the closing bracket.
fn arguments(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut in_quotes, mut skip) = (Vec::new(), 0, 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if skip => skip = false,
            b'\\' if in_quotes => skip = true,
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => (),
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b')' if depth == 0 => {
                found.push(text[start..at].trim());
                return found;
            }
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => (),
        }
    }
    // Cut short: another thread's call came between.
    found.push(text[start..].trim());
    found
}

/// The number and the path that a call ended with, if it opened something.
fn opened(line: &str) -> Option<(u64, PathBuf)> {
    let (number, path) = line.rsplit_once(" = ")?.1.split_once('<')?;
    Some((number.parse().ok()?, PathBuf::from(path.split_once('>')?.0)))
}

/// Which paths a call takes: the index of the directory, if it takes one, and that of the name.
type Places = &'static [(Option<usize>, usize)];

/// Calls that take a path, and whether they follow a link in its last place unless a flag forbids it.
const CALLS: &[(&str, Places, Option<&str>)] = &[
    ("openat", &[(Some(0), 1)], Some("O_NOFOLLOW")),
    ("openat2", &[(Some(0), 1)], Some("O_NOFOLLOW")),
    ("statx", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("newfstatat", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("faccessat2", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("fchownat", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("utimensat", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("fchmodat2", &[(Some(0), 1)], Some("AT_SYMLINK_NOFOLLOW")),
    ("name_to_handle_at", &[(Some(0), 1)], None),
    ("readlinkat", &[(Some(0), 1)], None),
    ("mkdirat", &[(Some(0), 1)], None),
    ("mknodat", &[(Some(0), 1)], None),
    ("unlinkat", &[(Some(0), 1)], None),
    ("symlinkat", &[(Some(1), 2)], None),
    ("linkat", &[(Some(0), 1), (Some(2), 3)], None),
    ("renameat", &[(Some(0), 1), (Some(2), 3)], None),
    ("renameat2", &[(Some(0), 1), (Some(2), 3)], None),
    // These have no flag: they always follow.
    ("fchmodat", &[(Some(0), 1)], Some("")),
    ("faccessat", &[(Some(0), 1)], Some("")),
    // These take whole paths only.
    ("open", &[(None, 0)], Some("")),
    ("creat", &[(None, 0)], Some("")),
    ("stat", &[(None, 0)], Some("")),
    ("lstat", &[(None, 0)], None),
    ("access", &[(None, 0)], Some("")),
    ("truncate", &[(None, 0)], Some("")),
    ("statfs", &[(None, 0)], Some("")),
    ("chdir", &[(None, 0)], Some("")),
    ("chmod", &[(None, 0)], Some("")),
    ("chown", &[(None, 0)], Some("")),
    ("lchown", &[(None, 0)], None),
    ("readlink", &[(None, 0)], None),
    ("mkdir", &[(None, 0)], None),
    ("rmdir", &[(None, 0)], None),
    ("unlink", &[(None, 0)], None),
    ("rename", &[(None, 0), (None, 1)], None),
    ("link", &[(None, 0), (None, 1)], None),
    ("symlink", &[(None, 1)], None),
    ("getxattr", &[(None, 0)], Some("")),
    ("lgetxattr", &[(None, 0)], None),
    ("listxattr", &[(None, 0)], Some("")),
    ("llistxattr", &[(None, 0)], None),
    ("setxattr", &[(None, 0)], Some("")),
    ("lsetxattr", &[(None, 0)], None),
    ("removexattr", &[(None, 0)], Some("")),
    ("lremovexattr", &[(None, 0)], None),
    ("utimes", &[(None, 0)], Some("")),
    ("futimesat", &[(Some(0), 1)], Some("")),
    ("inotify_add_watch", &[(None, 1)], Some("")),
    // The program itself, before it runs.
    ("execve", &[], None),
    ("getcwd", &[], None),
    // These take descriptors.
    ("fchmod", &[], None),
    ("fstatfs", &[], None),
    ("getdents64", &[], None),
];

/// By which the kernel resolves a path of several names without leaving the directory or following a link.
const BENEATH: [&str; 3] = ["RESOLVE_BENEATH", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_MAGICLINKS"];

/// The two trees whose names are not to be trusted.
pub struct Trees {
    roots: Vec<PathBuf>,
    /// What each descriptor was when it was opened last.
    open: BTreeMap<u64, PathBuf>,
}

impl Trees {
    pub fn new(roots: &[PathBuf]) -> Trees {
        Trees { roots: roots.to_vec(), open: BTreeMap::new() }
    }

    /// Reads what strace saw: how many calls took a name below the roots, and what is wrong with which.
    pub fn read(&mut self, log: &str) -> (usize, Vec<String>) {
        let (mut calls, mut complaints) = (0, Vec::new());
        for line in log.lines() {
            let line = line.trim_start().trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start();
            if let Some(call) = Call::parse(line) {
                calls += usize::from(call.directory(0).is_some_and(|at| self.is_in_trees(at)));
                complaints.extend(self.complaint(&call).map(|complaint| format!("{complaint}: {line}")));
            }
            self.open.extend(opened(line));
        }
        (calls, complaints)
    }

    fn is_in_trees(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    fn complaint(&self, call: &Call<'_>) -> Option<String> {
        let Some((_, places, forbids)) = CALLS.iter().find(|(name, ..)| *name == call.name) else {
            return Some("a call that this test does not know: add it, with what it does about links".into());
        };
        places.iter().find_map(|(directory, name)| self.place(call, *directory, *name, *forbids))
    }

    fn place(&self, call: &Call<'_>, directory: Option<usize>, name: usize, forbids: Option<&str>) -> Option<String> {
        // NULL: of the descriptor itself.
        let name = call.path(name)?;
        let at = directory.filter(|index| !call.is_cwd(*index));
        if Path::new(name).is_absolute() || at.is_none() {
            return self.whole(call, name);
        }
        let at = call.directory(at?)?;
        if !self.is_in_trees(at) {
            return None;
        }
        match name {
            "" if call.has("AT_EMPTY_PATH") => return None,
            // A directory once more, for a listing of its own.
            "." => return None,
            // From a root upwards, before anything is done: whether one lies in the other.
            ".." if self.roots.iter().any(|root| at == root) => return None,
            _ if name.split('/').any(|part| part == "..") => return Some("a name that leads upwards".into()),
            _ => (),
        }
        if name.contains('/') {
            let is_safe = call.name == "openat2" && BENEATH.iter().all(|flag| call.has(flag));
            return (!is_safe).then(|| "several names, and nothing that keeps them in the tree".into());
        }
        if call.name == "linkat" && call.has("AT_SYMLINK_FOLLOW") {
            return Some("a link in the last place is followed".into());
        }
        let is_safe = forbids.is_none_or(|flag| !flag.is_empty() && call.has(flag));
        (!is_safe).then(|| "a link in the last place is followed".into())
    }

    /// A path from the top; pmirror runs in the root directory here.
    fn whole(&self, call: &Call<'_>, path: &str) -> Option<String> {
        let path = Path::new("/").join(path);
        // An open file by its number: the kernel goes to that very inode, whatever names it has (proc(5)). But what
        // stands behind it is a name like any other.
        if let Ok(magic) = path.strip_prefix("/proc/self/fd")
            && let Some((number, name)) = magic.to_str()?.split_once('/')
        {
            let directory = number.parse().ok().and_then(|number: u64| self.open.get(&number));
            let is_safe = name == "." || directory.is_some_and(|directory| !self.is_in_trees(directory));
            return (!is_safe).then(|| "a name below an open directory, by way of /proc".into());
        }
        // The operator's word for a root: to open it once.
        let opens = call.name == "openat" && call.has("O_DIRECTORY") && self.roots.contains(&path);
        (self.is_in_trees(&path) && !opens).then(|| "a whole path in a tree".into())
    }
}
