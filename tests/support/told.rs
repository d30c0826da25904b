//! What `pmirror explain` and `pmirror status` tell of the runs of a state directory.

use super::needs;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What was told.
pub struct Told {
    pub code: i32,
    pub text: String,
    pub stderr: String,
}

/// A command of these words that no launcher, and nothing of the present environment, has a say in.
pub fn command(words: &[&str], state: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(needs::pmirror());
    command.args(words).arg("--state-dir").arg(state).current_dir("/").env_clear().env("LANG", "C.UTF-8");
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

/// Runs it to its end.
pub fn told(words: &[&str], state: impl AsRef<OsStr>) -> Told {
    let output = command(words, state).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Told { code: output.status.code().unwrap(), text: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The same, as JSON; it must end well.
pub fn told_json(words: &[&str], state: impl AsRef<OsStr>) -> Value {
    let told = told(&[words, &["--json"]].concat(), state);
    assert_eq!(told.code, 0, "{words:?}: {}", told.stderr);
    serde_json::from_str(&told.text).unwrap()
}

impl Told {
    /// Fails unless all of this is told, and the exit code is 0.
    pub fn says(&self, words: &[&str]) -> &Told {
        assert_eq!(self.code, 0, "{}{}", self.text, self.stderr);
        for word in words {
            assert!(self.text.contains(word), "{word:?} is not told:\n{}", self.text);
        }
        self
    }
}

/// Waits until it holds, which it must in the end.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(100), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that looks like that of a `sync` that ended with these faults.
pub fn record(state: &Path, id: &str, faults: &str) -> PathBuf {
    let directory = state.join(id);
    std::fs::create_dir_all(&directory).unwrap();
    let command = r#"{"version":"0.1.0","arguments":["pmirror","sync","/a","/b c"],"command":"sync","options":[],
        "operands":["/a","/b c"],"directory":"/","environment":{}}"#;
    std::fs::write(directory.join("command.json"), command).unwrap();
    let summary =
        r#"{"command":"sync","exit_code":23,"started":"2026-05-01T10:00:00Z","ended":"2026-05-01T11:00:00Z"}"#;
    std::fs::write(directory.join("summary.json"), summary).unwrap();
    std::fs::write(directory.join("faults.jsonl"), faults).unwrap();
    directory
}
