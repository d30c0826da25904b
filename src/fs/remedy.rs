//! What an operator can do about a root, a lock or a directory of his that can not be used.

use nix::errno::Errno;

/// By the number of the error; behind a semicolon.
pub fn of(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => {
            "run pmirror as its owner or as root; where root is squashed, on a node where it is not"
        }
        Errno::ENOENT => "is its file system mounted here?",
        Errno::EROFS => "mount it for writing",
        Errno::ENOSPC | Errno::EDQUOT => "make room there",
        Errno::EMFILE | Errno::ENFILE => "allow more open files (ulimit -n), or use fewer --threads",
        Errno::ELOOP => "name the directory itself, and no symbolic link",
        Errno::ENAMETOOLONG => "name it by a shorter path, from a directory nearer to it",
        Errno::ESTALE | Errno::ENOTCONN | Errno::ESHUTDOWN | Errno::ETIMEDOUT | Errno::EIO => {
            "is its server well? Mount it again, and run the same command"
        }
        _ => "look at it by hand on this node, and run the same command again",
    }
}

/// What failed, and what to do about it.
pub fn told(errno: Errno) -> String {
    format!("{} ({errno:?}); {}", errno.desc(), of(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once_with_its_name() {
        assert_eq!(told(Errno::EROFS), "Read-only file system (EROFS); mount it for writing");
    }
}
