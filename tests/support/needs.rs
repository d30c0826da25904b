//! What the tests need of the machine. Where it is missing they fail with the remedy; they never skip.

use rustix::fs::{FileType, Mode, XattrFlags};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const REMEDY: &str = "`make test` as root installs and runs all that the tests need";

/// Where trees are made: a file system with ACLs, xattrs and devices.
pub fn test_dir() -> PathBuf {
    let dir = std::env::var_os("PMIRROR_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    static CHECKED: OnceLock<()> = OnceLock::new();
    CHECKED.get_or_init(|| {
        root();
        raise_open_file_limit();
        capable_file_system(&dir);
    });
    dir
}

/// Fails unless the tests run as root.
pub fn root() {
    let root = rustix::process::geteuid().is_root();
    assert!(root, "needs root, for owners, devices and ACLs: {REMEDY}");
}

/// Fails unless `program` is installed.
pub fn program(program: impl AsRef<OsStr>) {
    let program = program.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(found, "needs the program {}: {REMEDY}", program.display());
}

/// Fails unless the file `path` of the repository exists.
pub fn repository_file(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.is_file(), "needs {}: {REMEDY}", path.display());
    path
}

/// The four nodes of the Slurm cluster of this machine: the script that runs commands there.
pub fn cluster() -> PathBuf {
    program("srun");
    let script = repository_file("tests/cluster/cluster.sh");
    static UP: OnceLock<bool> = OnceLock::new();
    let up = *UP.get_or_init(|| {
        let status = Command::new(&script).arg("status").output();
        status.is_ok_and(|output| output.status.success())
    });
    assert!(up, "the Slurm cluster of the tests is not up: {REMEDY}");
    script
}

/// The program under test: the one cargo built for this test, or `PMIRROR_TEST_BIN`.
pub fn pmirror() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_pmirror"));
    let path = std::env::var_os("PMIRROR_TEST_BIN").map_or_else(built, PathBuf::from);
    assert!(path.is_file(), "needs {}: {REMEDY}", path.display());
    path
}

/// Deep trees are walked with one descriptor a level.
fn raise_open_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("raise the limit of open files");
}

fn capable_file_system(dir: &Path) {
    let probe = tempfile::tempdir_in(dir).expect("make a directory for the tests");
    let ok = device_can_be_made(probe.path()) && attributes_can_be_set(probe.path());
    assert!(
        ok,
        "{} holds no devices, xattrs or ACLs: set PMIRROR_TEST_DIR to a directory of ext4, xfs or btrfs",
        dir.display()
    );
}

fn device_can_be_made(dir: &Path) -> bool {
    let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o600));
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("device"), kind, mode, device).is_ok()
}

fn attributes_can_be_set(dir: &Path) -> bool {
    let acl = super::acl::encode("u::rwx,u:1000:r--,g::r-x,m::r-x,o::---");
    let attributes =
        [("user.probe", b"value".to_vec()), ("trusted.probe", b"value".to_vec()), (super::acl::ACCESS, acl)];
    let set = |(name, value): &(&str, Vec<u8>)| rustix::fs::lsetxattr(dir, *name, value, XattrFlags::empty()).is_ok();
    attributes.iter().all(set)
}

/// A command that must succeed; fails with what it said.
pub fn run_ok(command: &mut Command) -> String {
    program(command.get_program());
    let output = command.output().expect("start a helper program");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}
