//! A machine whose power can be taken away: qemu with a kernel of its own, killed with SIGKILL. What the guest had
//! not written to its disk is lost; what it had written is in the image. Stopped for a moment (SIGSTOP), its image is the
//! one that a cut at that moment leaves, so that one guest can be cut several times.

use super::needs;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a guest may take to boot, and to mirror the tree when nobody takes its power away.
const PATIENCE: Duration = Duration::from_secs(300);

/// The kernel and the initramfs that all guests boot.
pub struct Guest {
    directory: PathBuf,
}

/// A guest that mirrors.
pub struct Powered {
    qemu: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
    begun: Instant,
}

impl Guest {
    /// Builds it around the program under test.
    pub fn build() -> Guest {
        ["qemu-system-x86_64", "busybox", "cpio"].iter().for_each(needs::program);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power");
        let script = needs::repository_file("tests/power/guest.sh");
        needs::run_ok(Command::new("bash").arg(script).arg(needs::pmirror()).arg(&directory));
        Guest { directory }
    }

    /// Boots it, and waits until the run has taken its lock. `words` go to its init, as NAME=VALUE.
    pub fn boot(&self, source: &Path, target: &Path, words: &[String]) -> Powered {
        let words: String = words.iter().map(|word| format!(" power.{word}")).collect();
        let drive = |path: &Path, more: &str| format!("file={},format=raw,if=virtio,{more}", path.display());
        let mut qemu = Command::new("qemu-system-x86_64");
        // Emulated: the same everywhere, also in a machine that is virtual itself. On a busy one its timer is late.
        qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"]);
        qemu.args(["-nographic", "-no-reboot", "-net", "none"]);
        qemu.arg("-kernel").arg(self.directory.join("kernel"));
        qemu.arg("-initrd").arg(self.directory.join("initramfs"));
        qemu.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 no_timer_check mitigations=off{words}"));
        qemu.arg("-drive").arg(drive(source, "readonly=on"));
        qemu.arg("-drive").arg(drive(target, "cache=writeback"));
        let mut qemu = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (console, (send, lines)) = (BufReader::new(qemu.stdout.take().unwrap()), mpsc::channel());
        std::thread::spawn(move || {
            // A line that is cut off in the middle of a letter is none.
            console
                .split(b'\n')
                .map_while(Result::ok)
                .for_each(|line| drop(send.send(String::from_utf8_lossy(&line).into())));
        });
        let mut powered = Powered { qemu, lines, said: Vec::new(), begun: Instant::now() };
        powered.wait_for("POWER writes");
        powered.begun = Instant::now();
        powered
    }
}

impl Powered {
    fn wait_for(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        let until = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.contains(words) {
                return line;
            }
            seen.push(line);
        }
        let _ = self.qemu.kill();
        panic!("the guest never said {words:?}:\n{}", seen.join("\n"));
    }

    /// How long it mirrors when it may end.
    pub fn runs_to_its_end(mut self) -> Duration {
        let line = self.wait_for("POWER ended");
        let seconds = self.begun.elapsed();
        self.cut();
        assert!(line.contains("POWER ended 0"), "{line}");
        seconds
    }

    /// The disk that is left if the power goes so long after it began to mirror. Whether it had ended well before.
    pub fn disk_after(&mut self, time: Duration, image: &Path, copy: &Path) -> bool {
        std::thread::sleep(time.saturating_sub(self.begun.elapsed()));
        self.signal(Signal::SIGSTOP);
        // Until its last thread has stopped: a write that the kernel has begun it also ends.
        std::thread::sleep(Duration::from_millis(50));
        needs::run_ok(Command::new("cp").arg("--sparse=always").arg(image).arg(copy));
        let ended = self.has_ended();
        self.signal(Signal::SIGCONT);
        ended
    }

    /// The same by really taking the power away.
    pub fn runs_for(mut self, time: Duration) -> bool {
        std::thread::sleep(time.saturating_sub(self.begun.elapsed()));
        self.cut();
        self.has_ended()
    }

    fn has_ended(&mut self) -> bool {
        self.said.extend(self.lines.try_iter());
        let ended = self.said.iter().find(|line| line.contains("POWER ended"));
        assert!(ended.is_none_or(|line| line.contains("POWER ended 0")), "{}", self.said.join("\n"));
        ended.is_some()
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.qemu.id().try_into().unwrap()), signal).unwrap();
    }

    fn cut(&mut self) {
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
    }
}
