//! Mounts our file system that is slow or broken on demand (tests/programs/faultfs) for a test.

use super::needs;
use nix::errno::Errno;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A mount; it ends with the value, and also when the test dies.
pub struct FaultFs {
    child: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    mountpoint: PathBuf,
}

/// Something to be done to some calls; see tests/programs/faultfs/rules.rs.
#[derive(Clone, Debug)]
pub struct Rule(Map<String, Value>);

impl Rule {
    /// About one operation, `all` of them, or all that are `modifying`.
    pub fn on(operation: &str) -> Rule {
        Rule::on_each(&[operation])
    }

    pub fn on_each(operations: &[&str]) -> Rule {
        let mut rule = Map::new();
        rule.insert("operations".to_string(), json!(operations));
        Rule(rule)
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Rule {
        self.0.insert(key.to_string(), value.into());
        self
    }

    /// Only names that match this glob.
    pub fn named(self, glob: &str) -> Rule {
        self.with("name", glob)
    }

    /// Each call takes so much longer.
    pub fn latency(self, latency: Duration) -> Rule {
        self.with("latency_us", u64::try_from(latency.as_micros()).unwrap())
    }

    pub fn error(self, errno: Errno) -> Rule {
        self.with("errno", errno as i32)
    }

    /// Reads or writes move at most so many bytes.
    pub fn short(self, bytes_max: u64) -> Rule {
        self.with("bytes_max", bytes_max)
    }

    /// Calls wait until the rule is lifted.
    pub fn hang(self) -> Rule {
        self.with("hang", true)
    }

    /// Every n-th call only.
    pub fn every(self, n: u64) -> Rule {
        self.with("every", n)
    }

    /// The first n calls only.
    pub fn first(self, n: u64) -> Rule {
        self.with("first", n)
    }

    /// Not the first n calls.
    pub fn after(self, n: u64) -> Rule {
        self.with("after", n)
    }
}

impl FaultFs {
    /// Shows a folder.
    pub fn mount(backing: impl AsRef<Path>) -> FaultFs {
        FaultFs::mount_with(backing, &[])
    }

    /// The same with options of the program: `--times seconds`, `--lustre`, ...
    pub fn mount_with(backing: impl AsRef<Path>, options: &[&str]) -> FaultFs {
        needs::root();
        let program = needs::pmirror().with_file_name("examples").join("faultfs");
        assert!(program.is_file(), "needs {}: cargo test builds it", program.display());
        let mountpoint = tempfile::TempDir::with_prefix_in("faultfs-", needs::test_dir()).unwrap().keep();
        let mut command = Command::new(program);
        command.arg(backing.as_ref()).arg(&mountpoint).args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipes = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mount = FaultFs { child, pipes: Mutex::new(Some(pipes)), mountpoint };
        let said = mount.answer();
        assert_eq!(said, json!({ "mounted": true }), "faultfs did not mount; it needs /dev/fuse");
        mount
    }

    /// A folder, and in its root directories that exist in arithmetic only, `synthetic-000000` and so on:
    /// `FILES[:DIRECTORIES[:BYTES]]`.
    pub fn synthetic(backing: impl AsRef<Path>, shape: &str) -> FaultFs {
        FaultFs::mount_with(backing, &["--synthetic", shape])
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Puts a rule in force. The number lifts it.
    pub fn rule(&self, rule: Rule) -> u64 {
        let answer = self.request(&json!({ "rule": rule.0 }));
        answer.as_u64().unwrap_or_else(|| panic!("{rule:?}: {answer}"))
    }

    /// Lifts a rule.
    pub fn lift(&self, rule: u64) {
        self.request(&json!({ "lift": rule }));
    }

    /// Lifts all rules.
    pub fn clear(&self) {
        self.request(&json!("clear"));
    }

    /// Begins to log calls.
    pub fn start_log(&self) {
        self.request(&json!("start_log"));
    }

    /// The calls since `start_log` or the last time, in order, as `operation name detail`.
    pub fn take_log(&self) -> Vec<String> {
        let log = self.request(&json!("take_log"));
        let word = |call: &Value, key: &str| call[key].as_str().unwrap_or("").to_string();
        let line = |call| ["operation", "name", "detail"].map(|key| word(call, key)).join(" ").trim_end().to_string();
        log.as_array().unwrap().iter().map(line).collect()
    }

    /// How often an operation was called since the last time this was asked of any.
    pub fn take_calls(&self) -> Map<String, Value> {
        let calls = self.request(&json!("take_calls"));
        calls.as_object().unwrap().clone()
    }

    fn request(&self, request: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap();
        let (input, _) = pipes.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        input.flush().unwrap();
        drop(pipes);
        self.answer()
    }

    fn answer(&self) -> Value {
        let mut line = String::new();
        let mut pipes = self.pipes.lock().unwrap();
        pipes.as_mut().unwrap().1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }
}

impl Drop for FaultFs {
    /// It unmounts when its input ends; who still uses the mount then gets errors.
    fn drop(&mut self) {
        drop(self.pipes.get_mut().map(Option::take));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("umount").args(["-q", "-l"]).arg(&self.mountpoint).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir(&self.mountpoint);
    }
}
