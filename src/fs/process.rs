//! Whether a process lives that left word of itself in a file.

use serde::{Deserialize, Serialize};

use super::operator::{system_file, system_link};

/// A process, for others to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// Where that means something: the boot.
    pub boot: String,
    /// The name space.
    pub pid_namespace: String,
    /// Ticks from the boot to its start.
    pub pid_started: String,
}

impl ProcessId {
    /// This one.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            boot: system_file("/proc/sys/kernel/random/boot_id"),
            pid_namespace: system_link("/proc/self/ns/pid"),
            pid_started: Process::look(pid).started,
        }
    }

    /// Whether it lives; `None` where its number means nothing to us.
    pub fn lives(&self, us: &ProcessId) -> Option<bool> {
        let is_known = !self.boot.is_empty() && !self.pid_started.is_empty();
        let comparable = is_known && self.boot == us.boot && self.pid_namespace == us.pid_namespace;
        comparable.then(|| {
            let process = Process::look(self.pid);
            process.started == self.pid_started && !process.is_dead
        })
    }
}

/// What /proc/PID/stat tells of a process (proc(5)).
#[derive(Debug, Default)]
struct Process {
    /// Ticks since boot, field 22; empty when there is no such process.
    started: String,
    /// It only waits to be reaped, and its last thread is gone: it writes no more.
    is_dead: bool,
}

impl Process {
    fn look(pid: u32) -> Self {
        let stat = system_file(&format!("/proc/{pid}/stat"));
        // The second field, the command's name, may hold spaces and brackets.
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let is_dead = matches!(field(3), "Z" | "X") && matches!(field(20), "0" | "1");
        Self { started: field(22).to_owned(), is_dead }
    }
}
