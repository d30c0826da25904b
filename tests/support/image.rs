//! File systems of their own for tests: an image in a file, mounted by a loop device.

use super::needs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted image; it is unmounted and removed with the value.
pub struct Image {
    top: PathBuf,
}

impl Image {
    /// An XFS of 400 MiB, which takes little of the disk. It keeps project ids, with quotas or without.
    pub fn xfs() -> Image {
        Image::new(&["mkfs.xfs", "-q"], 400)
    }

    /// A Btrfs.
    pub fn btrfs() -> Image {
        Image::new(&["mkfs.btrfs", "-q"], 256)
    }

    /// A small ext4.
    pub fn ext4() -> Image {
        Image::new(&["mkfs.ext4", "-q"], 64)
    }

    /// An ext4 of so many MiB with so many inodes, that goes read-only at an error.
    pub fn small_ext4(mebibytes: u64, inodes: u32) -> Image {
        let inodes = inodes.to_string();
        Image::new(&["mkfs.ext4", "-q", "-m", "0", "-e", "remount-ro", "-N", &inodes], mebibytes)
    }

    /// A file system in memory that has neither extended attributes nor ACLs.
    pub fn ramfs() -> Image {
        let top = tempfile::TempDir::with_prefix_in("pmirror-image-", needs::test_dir()).unwrap().keep();
        let image = Image { top };
        std::fs::create_dir(image.path()).unwrap();
        needs::run_ok(Command::new("mount").args(["-t", "ramfs", "none"]).arg(image.path()));
        image
    }

    /// The device that it is mounted from.
    pub fn device(&self) -> String {
        needs::run_ok(Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(self.path())).trim().to_string()
    }

    /// Unmounts it, repairs what an error left, and mounts it again.
    pub fn mount_again(&self) {
        needs::run_ok(Command::new("umount").arg(self.path()));
        // 1: errors were corrected (e2fsck(8)).
        let _ = Command::new("e2fsck").args(["-f", "-y"]).arg(self.file()).output();
        needs::run_ok(Command::new("mount").args(["-o", "loop"]).arg(self.file()).arg(self.path()));
    }

    fn new(make: &[&str], mebibytes: u64) -> Image {
        let top = tempfile::TempDir::with_prefix_in("pmirror-image-", needs::test_dir()).unwrap().keep();
        let image = Image { top };
        let (file, mountpoint) = (image.file(), image.path());
        std::fs::File::create(&file).unwrap().set_len(mebibytes << 20).unwrap();
        needs::run_ok(Command::new(make[0]).args(&make[1..]).arg(&file));
        std::fs::create_dir(&mountpoint).unwrap();
        needs::run_ok(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&mountpoint));
        image
    }

    /// The file that holds it.
    pub fn file(&self) -> PathBuf {
        self.top.join("image")
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.top.join("mounted")
    }

    /// A new directory in it.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // The mount alone holds the loop device: it goes with it.
        let unmounted = |path: &Path, lazily: &[&str]| {
            Command::new("umount").args(lazily).arg("-q").arg(path).status().is_ok_and(|status| status.success())
        };
        if !unmounted(&self.path(), &[]) {
            unmounted(&self.path(), &["-l"]);
        }
        let _ = Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(&self.top).status();
    }
}
