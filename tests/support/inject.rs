//! Runs pmirror under ptrace(2): the n-th of its system calls of some sort fails, or is its last.
//!
//! strace could do that too, but counts the calls of each thread for itself, and which worker takes an
//! item is chance. Here all threads share one count: with one permitted worker the n-th call of a run is, nearly always,
//! the n-th of the next.

use super::outcome::Outcome;
use super::run::Pmirror;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(180);
/// Waits until we have taken hold of it; then the program takes its place.
pub(super) const HELD: [&str; 4] = ["sh", "-c", "read -r go; exec \"$@\"", "sh"];

/// No call has this number: nothing is done.
const NOTHING: u64 = u64::MAX;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The whole run is killed instead of it.
    Kill,
    /// It does nothing and fails; a close closes all the same, as Linux does.
    Fail(Errno),
    /// So do all later ones on the target: a file system that was switched to read only.
    FailFrom(Errno),
    /// So do all later ones in its directory: that of a server that has gone.
    FailBeside(Errno),
    /// It moves half of the bytes.
    Short,
    /// It opens for writing too.
    OpenToWrite,
    /// It opens what has that name in the working directory.
    OpenElsewhere,
}

impl Blow {
    /// How a later call than the first fails too. What was closed is closed, and syncfs on a file system that
    /// takes no writes has nothing to do.
    fn again(self, first: &Step, later: &Step) -> Option<Errno> {
        let is_sync = later.call == "flush" && later.path.ends_with("/target");
        let takes_part = later.call != "close" && !is_sync;
        match self {
            Blow::FailFrom(errno) => (takes_part && later.path.contains("/target")).then_some(errno),
            Blow::FailBeside(errno) => (takes_part && first.directory() == later.directory()).then_some(errno),
            _ => None,
        }
    }
}

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Those that change something on a file system.
    Changes,
    /// Those by which the trees are looked at and read.
    Looks,
}

/// A call that was counted.
#[derive(Clone, Debug)]
pub struct Step {
    pub call: &'static str,
    pub path: String,
}

impl Step {
    fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(directory, _)| directory)
    }
}

/// A run that was struck, or only watched.
pub struct Struck {
    pub outcome: Outcome,
    /// All that was counted until the end.
    pub steps: Vec<Step>,
}

/// Runs it to its end, with a blow to the call of that index.
pub fn run(pmirror: &Pmirror, sort: Sort, blow: Option<(usize, Blow)>) -> Struck {
    traced(pmirror, |child| Tracer::new(child, sort, blow))
}

/// The same with a blow to the first call that is aimed at.
pub fn run_aimed(pmirror: &Pmirror, sort: Sort, aim: fn(&Step) -> bool, blow: Blow) -> Struck {
    traced(pmirror, |child| Tracer { aim: Some(aim), ..Tracer::new(child, sort, Some((usize::MAX, blow))) })
}

fn traced(pmirror: &Pmirror, tracer: impl FnOnce(&Child) -> Tracer) -> Struck {
    const { assert!(cfg!(target_arch = "x86_64"), "the registers of a system call are those of x86-64") };
    let mut steps = Vec::new();
    let outcome = pmirror.clone().wrapped_by(&HELD).run_watched(Stdio::piped(), |child| {
        let mut tracer = tracer(&child);
        let code = trace(child, |pid| tracer.at_call(pid));
        steps = tracer.steps;
        Some(code)
    });
    Struck { outcome, steps }
}

/// Lets a held run begin, and shows `at_call` each of its threads at the entry and the return of each call. Tells the
/// exit code.
pub(super) fn trace(mut child: Child, mut at_call: impl FnMut(Pid)) -> i32 {
    use ptrace::Options;
    let leader = Pid::from_raw(child.id().try_into().unwrap());
    let threads = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    let options = threads | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD;
    ptrace::seize(leader, options | Options::PTRACE_O_EXITKILL).expect("ptrace must be allowed");
    let (over, is_over) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if is_over.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(leader, Signal::SIGKILL);
        }
    });
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let code = loop {
        // Only of this thread: others have runs of their own.
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == leader => break code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == leader => break 128 + signal as i32,
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                at_call(pid);
                resume(pid, None);
            }
            Ok(WaitStatus::PtraceEvent(pid, ..)) => resume(pid, None),
            Ok(WaitStatus::Stopped(pid, signal)) => resume(pid, Some(signal)),
            Ok(_) | Err(Errno::EINTR) => (),
            Err(errno) => panic!("wait for a traced run: {errno}"),
        }
    };
    drop(over);
    watchdog.join().unwrap();
    code
}

/// What is to be done when a call returns.
enum Return {
    Remember,
    Give(i32),
}

struct Tracer {
    leader: Pid,
    sort: Sort,
    blow: Option<(usize, Blow)>,
    /// The call that the blow is for, until it was met.
    aim: Option<fn(&Step) -> bool>,
    steps: Vec<Step>,
    returns: BTreeMap<Pid, Return>,
    /// Descriptors that are of interest: open for writing, or of a tree.
    known: BTreeSet<u64>,
}

impl Tracer {
    fn new(child: &Child, sort: Sort, blow: Option<(usize, Blow)>) -> Tracer {
        let leader = Pid::from_raw(child.id().try_into().unwrap());
        let (steps, returns, known) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Tracer { leader, sort, blow, aim: None, steps, returns, known }
    }

    fn at_call(&mut self, pid: Pid) {
        // ESRCH: it was killed meanwhile.
        if let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) {
            if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
                self.enter(pid, &mut registers);
            } else if let Some(what) = self.returns.remove(&pid) {
                match what {
                    Return::Remember => self.remember(registers.rax),
                    Return::Give(answer) => {
                        registers.rax = i64::from(answer).cast_unsigned();
                        let _ = ptrace::setregs(pid, registers);
                    }
                }
            }
        }
    }

    fn remember(&mut self, descriptor: u64) {
        if descriptor < 1 << 20 {
            self.known.insert(descriptor);
        }
    }

    fn enter(&mut self, pid: Pid, registers: &mut libc::user_regs_struct) {
        let call = Call::of(registers);
        let again = call.reopened(pid).filter(|descriptor| self.known.contains(descriptor));
        if self.is_opened(&call) || again.is_some() {
            self.returns.insert(pid, Return::Remember);
        }
        let name = match (self.sort, again) {
            (Sort::Changes, _) => call.changes(&self.known),
            (Sort::Looks, Some(descriptor)) => Some(("open", Place::Descriptor(descriptor))),
            (Sort::Looks, None) => call.looks(&self.known),
        };
        if matches!(call.number, libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs) {
            self.skip(pid, registers);
        }
        if call.number == libc::SYS_close {
            self.known.remove(&call.arguments[0]);
        }
        let Some((name, place)) = name else { return };
        let step = Step { call: name, path: place.path(pid) };
        if self.aim.is_some_and(|aim| aim(&step)) {
            self.aim = None;
            self.blow = self.blow.map(|(_, blow)| (self.steps.len(), blow));
        }
        match self.blow {
            Some((struck, blow)) if struck == self.steps.len() => self.strike(pid, registers, &call, blow),
            Some((struck, blow)) => {
                if let Some(errno) = self.steps.get(struck).and_then(|first| blow.again(first, &step)) {
                    self.strike(pid, registers, &call, Blow::Fail(errno));
                }
            }
            None => (),
        }
        self.steps.push(step);
    }

    /// A flush matters when the power fails, and not here: it succeeds, and takes no time.
    fn skip(&mut self, pid: Pid, registers: &mut libc::user_regs_struct) {
        registers.orig_rax = NOTHING;
        let _ = ptrace::setregs(pid, *registers);
        self.returns.insert(pid, Return::Give(0));
    }

    fn is_opened(&self, call: &Call) -> bool {
        let flags = call.arguments[2] as i32;
        let is_relative = call.arguments[0] as i32 != libc::AT_FDCWD;
        let wanted = match self.sort {
            Sort::Changes => flags & libc::O_ACCMODE != libc::O_RDONLY,
            Sort::Looks => flags & libc::O_CREAT == 0 && (is_relative || flags & libc::O_DIRECTORY != 0),
        };
        call.number == libc::SYS_openat && wanted
    }

    fn strike(&mut self, pid: Pid, registers: &mut libc::user_regs_struct, call: &Call, blow: Blow) {
        match blow {
            Blow::Kill => {
                registers.orig_rax = NOTHING;
                let _ = kill(self.leader, Signal::SIGKILL);
            }
            Blow::Fail(errno) | Blow::FailFrom(errno) | Blow::FailBeside(errno) => {
                if call.number != libc::SYS_close {
                    registers.orig_rax = NOTHING;
                }
                self.returns.insert(pid, Return::Give(-(errno as i32)));
            }
            Blow::OpenToWrite if call.number == libc::SYS_openat => {
                // Where the program would only name it first, it opens it.
                registers.rdx = registers.rdx & !(libc::O_PATH as u64) | libc::O_RDWR as u64;
            }
            Blow::OpenElsewhere if call.number == libc::SYS_openat => registers.rdi = libc::AT_FDCWD as u32 as u64,
            // Another call than in the run that was counted.
            Blow::OpenToWrite | Blow::OpenElsewhere => (),
            Blow::Short => match call.number {
                libc::SYS_copy_file_range => registers.r8 = registers.r8.div_ceil(2),
                libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_read | libc::SYS_pread64 => {
                    registers.rdx = registers.rdx.div_ceil(2);
                }
                // Another call than in the run that was counted.
                _ => (),
            },
        }
        let _ = ptrace::setregs(pid, *registers);
    }
}

fn resume(pid: Pid, signal: Option<Signal>) {
    // ESRCH: it was killed meanwhile.
    let _ = ptrace::syscall(pid, signal);
}

/// A system call that is about to be made.
struct Call {
    number: i64,
    arguments: [u64; 6],
}

/// What a call speaks of.
enum Place {
    Descriptor(u64),
    Name(u64),
    Below(u64, u64),
}

impl Place {
    fn path(self, pid: Pid) -> String {
        match self {
            Place::Descriptor(descriptor) => std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}"))
                .map_or_else(|_| String::new(), |path| super::escaped(path.as_os_str().as_encoded_bytes())),
            Place::Name(address) => named(pid, address),
            Place::Below(directory, address) if directory as i32 == libc::AT_FDCWD => named(pid, address),
            Place::Below(directory, address) => {
                format!("{}/{}", Place::Descriptor(directory).path(pid), text(pid, address))
            }
        }
    }
}

/// Where open files can be reached by their numbers.
const BY_NUMBER: &str = "/proc/self/fd/";

/// The path at an address of the traced process; one that begins with an open directory in full.
fn named(pid: Pid, address: u64) -> String {
    let path = text(pid, address);
    let Some((descriptor, name)) = path.strip_prefix(BY_NUMBER).and_then(|rest| rest.split_once('/')) else {
        return path;
    };
    descriptor.parse().map_or(path.clone(), |number| format!("{}/{name}", Place::Descriptor(number).path(pid)))
}

/// The name at an address of the traced process.
fn text(pid: Pid, address: u64) -> String {
    let mut bytes = [0; 256];
    let length = File::open(format!("/proc/{pid}/mem")).and_then(|memory| memory.read_at(&mut bytes, address));
    let name = bytes[..length.unwrap_or(0)].split(|byte| *byte == 0).next();
    super::escaped(name.unwrap_or_default())
}

impl Call {
    fn of(registers: &libc::user_regs_struct) -> Call {
        let libc::user_regs_struct { rdi, rsi, rdx, r10, r8, r9, orig_rax, .. } = *registers;
        Call { number: orig_rax.cast_signed(), arguments: [rdi, rsi, rdx, r10, r8, r9] }
    }

    /// The descriptor whose inode is opened once more.
    fn reopened(&self, pid: Pid) -> Option<u64> {
        let is_whole = self.number == libc::SYS_openat && self.arguments[0] as i32 == libc::AT_FDCWD;
        if is_whole { text(pid, self.arguments[1]).strip_prefix(BY_NUMBER)?.parse().ok() } else { None }
    }

    /// Those of `sh` and of the loader change nothing, and what goes to a pipe is on no file system.
    fn changes(&self, writable: &BTreeSet<u64>) -> Option<(&'static str, Place)> {
        let [first, second, third, fourth, ..] = self.arguments;
        let is_file = |descriptor| writable.contains(&descriptor);
        let name = |call, address| Some((call, Place::Name(address)));
        let below = |call, directory, address| Some((call, Place::Below(directory, address)));
        let descriptor = |call, descriptor| Some((call, Place::Descriptor(descriptor)));
        match self.number {
            libc::SYS_openat if third as i32 & libc::O_CREAT != 0 => below("create", first, second),
            libc::SYS_write | libc::SYS_pwrite64 if is_file(first) => descriptor("write", first),
            libc::SYS_copy_file_range => descriptor("write", third),
            libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs => descriptor("flush", first),
            libc::SYS_ftruncate | libc::SYS_fallocate => descriptor("truncate", first),
            libc::SYS_close if is_file(first) => descriptor("close", first),
            libc::SYS_rename => name("rename", second),
            libc::SYS_renameat | libc::SYS_renameat2 => below("rename", third, fourth),
            libc::SYS_linkat => below("link", third, fourth),
            libc::SYS_symlinkat => below("symlink", second, third),
            libc::SYS_mknodat => below("mknod", first, second),
            libc::SYS_mkdir => name("mkdir", first),
            libc::SYS_mkdirat => below("mkdir", first, second),
            libc::SYS_unlink | libc::SYS_rmdir => name("unlink", first),
            libc::SYS_unlinkat => below("unlink", first, second),
            libc::SYS_utimensat if second != 0 => below("times", first, second),
            libc::SYS_utimensat => descriptor("times", first),
            libc::SYS_fchown | libc::SYS_fchownat => descriptor("owner", first),
            libc::SYS_fchmod => descriptor("mode", first),
            libc::SYS_chmod | libc::SYS_fchmodat => {
                name("mode", if self.number == libc::SYS_chmod { first } else { second })
            }
            libc::SYS_fsetxattr | libc::SYS_fremovexattr => descriptor("xattr", first),
            libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_removexattr | libc::SYS_lremovexattr => {
                name("xattr", first)
            }
            _ => None,
        }
    }

    /// Only below the roots: what is opened by a whole path are the loader's, the system's and the state's.
    fn looks(&self, open: &BTreeSet<u64>) -> Option<(&'static str, Place)> {
        let [first, second, third, ..] = self.arguments;
        let is_tree = open.contains(&first);
        let name = |call, address| Some((call, Place::Below(first, address)));
        let descriptor = |call| Some((call, Place::Descriptor(first)));
        match self.number {
            libc::SYS_openat if is_tree && third as i32 & libc::O_CREAT == 0 => name("open", second),
            libc::SYS_statx if is_tree => name("stat", second),
            libc::SYS_readlinkat if is_tree => name("readlink", second),
            libc::SYS_getdents64 if is_tree => descriptor("list"),
            libc::SYS_read | libc::SYS_pread64 if is_tree => descriptor("read"),
            libc::SYS_lseek if is_tree => descriptor("seek"),
            libc::SYS_flistxattr | libc::SYS_fgetxattr => descriptor("xattr"),
            libc::SYS_listxattr | libc::SYS_getxattr | libc::SYS_llistxattr | libc::SYS_lgetxattr => {
                Some(("xattr", Place::Name(first)))
            }
            _ => None,
        }
    }
}
