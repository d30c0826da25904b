//! Runs pmirror under ptrace(2) with its safety taken away, call by call: what the tests of hostile users must catch.

use super::inject::{HELD, trace};
use super::outcome::Outcome;
use super::run::Pmirror;
use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Each flag by which a call does not follow a link or leave a directory.
    FollowsLinks,
    /// The one by which a name is looked at before it is opened.
    OpensAnything,
}

/// Runs it to its end.
pub fn run(pmirror: &Pmirror, weakness: Weakness) -> Outcome {
    const { assert!(cfg!(target_arch = "x86_64"), "the registers of a system call are those of x86-64") };
    let held = pmirror.clone().wrapped_by(&HELD);
    held.run_watched(Stdio::piped(), |child| Some(trace(child, |pid| at_call(pid, weakness))))
}

fn at_call(pid: Pid, weakness: Weakness) {
    // An error: it was killed meanwhile.
    let (Ok(info), Ok(mut registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) else { return };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return;
    }
    match weakness {
        Weakness::FollowsLinks => follow_links(pid, &mut registers),
        Weakness::OpensAnything => open_anything(&mut registers),
    }
    let _ = ptrace::setregs(pid, registers);
}

fn follow_links(pid: Pid, registers: &mut libc::user_regs_struct) {
    let at_flag = bits(libc::AT_SYMLINK_NOFOLLOW);
    match registers.orig_rax.cast_signed() {
        libc::SYS_openat => registers.rdx &= !bits(libc::O_NOFOLLOW),
        libc::SYS_openat2 => loosen(pid, registers.rdx),
        libc::SYS_statx => registers.rdx &= !at_flag,
        libc::SYS_newfstatat | libc::SYS_utimensat | libc::SYS_faccessat2 => registers.r10 &= !at_flag,
        libc::SYS_fchownat => registers.r8 &= !at_flag,
        _ => (),
    }
}

/// openat2(2): struct open_how is flags, mode and resolve, eight bytes each.
fn loosen(pid: Pid, how: u64) {
    let Ok(memory) = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")) else { return };
    let mut flags = [0; 8];
    if memory.read_exact_at(&mut flags, how).is_ok() {
        let flags = u64::from_ne_bytes(flags) & !bits(libc::O_NOFOLLOW);
        let _ = memory.write_all_at(&flags.to_ne_bytes(), how);
        let _ = memory.write_all_at(&[0; 8], how + 16);
    }
}

/// Where O_PATH is no longer asked for, the inode itself is opened.
fn open_anything(registers: &mut libc::user_regs_struct) {
    let names_only = registers.rdx & bits(libc::O_PATH | libc::O_DIRECTORY) == bits(libc::O_PATH);
    if registers.orig_rax.cast_signed() == libc::SYS_openat && names_only {
        registers.rdx = registers.rdx & !bits(libc::O_PATH) | bits(libc::O_NONBLOCK);
    }
}

fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}
