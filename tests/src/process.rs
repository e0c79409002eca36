//! Programs under test: built once, started as a user would, killed without mercy.
//!
//! A program writes its output to a file, so that it is never stopped by a full pipe, and a test
//! that fails shows the end of it.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// How much of a program's output a failing test shows.
const SHOWN_LINES: usize = 30;

/// Where this build goes: the directory above the profile's.
pub(crate) fn target_directory() -> PathBuf {
    profile_directory().parent().expect("the profile is a directory in the target").to_owned()
}

/// `target/debug`, from the place of the running test program, `target/debug/deps/name-hash`.
fn profile_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.ancestors().nth(2).expect("a test program is in `deps` of the profile").to_owned()
}

/// The path of one of the project's programs, built first with the profile of the running test, so
/// that a test never meets an old one.
///
/// # Panics
/// It does not build.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    assert!(built.is_ok(), "{}", built.as_ref().unwrap_err());
    profile_directory().join(name)
}

fn build() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--workspace", "--bins", "--quiet", "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(target_directory());
    // What cargo tells a test of its own package is news to build scripts, which would run again.
    let ours = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
    };
    let names = std::env::vars_os().map(|(name, _)| name).filter(ours);
    names.for_each(|name| {
        command.env_remove(name);
    });
    if profile_directory().ends_with("release") {
        command.arg("--release");
    }
    let output = command.stdin(Stdio::null()).output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the programs under test do not build:\n{said}");
    Ok(())
}

/// What a program that ran to its end said.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs one of the project's programs to its end, with nothing on standard input.
///
/// # Panics
/// It cannot be started.
#[must_use]
pub fn run_to_end(name: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program(name))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A running program; it is killed when this is dropped, and when the test program dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts one of the project's programs; what it says is appended to `output`.
    ///
    /// The kernel kills it when the *thread* that called this ends (`PR_SET_PDEATHSIG`), so call it
    /// from the thread of the test.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str], output: &Path) -> Self {
        Self::start_within(&[], name, arguments, output)
    }

    /// The same, started by another program, such as `strace` with its arguments, which ends when
    /// this ends, or becomes it.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_within(wrapper: &[String], name: &str, arguments: &[&str], output: &Path) -> Self {
        let file = File::options().create(true).append(true).open(output);
        let file = file.expect("the test's directory can be written");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(wrapper)
            // The program dies with the one that started it.
            .args(if wrapper.is_empty() { &[][..] } else { &["setpriv", "--pdeathsig", "KILL"] })
            .arg(program(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("an open file can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} through setpriv: {error}"));
        Self { name: name.to_owned(), child, output: output.to_owned() }
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill9(mut self) {
        self.end_now();
    }

    /// SIGSTOP: from now on it stands still, with all its threads, until [`Process::resume`].
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
        let tasks = format!("/proc/{}/task", self.child.id());
        let stopped = |task: std::io::Result<std::fs::DirEntry>| {
            // Its state is the letter behind its name, which is in parentheses: proc(5).
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            stat.rsplit_once(") ").map(|(_, fields)| fields.starts_with('T'))
        };
        crate::wait_until("every thread to stand still", || {
            std::fs::read_dir(&tasks)
                .is_ok_and(|tasks| tasks.into_iter().all(|task| stopped(task).unwrap_or(true)))
        });
    }

    /// SIGCONT.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it runs");
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).expect("it runs");
    }

    /// SIGTERM; returns the exit status.
    ///
    /// # Panics
    /// It does not end in time.
    pub fn terminate(mut self) -> ExitStatus {
        let _ = kill_process(self.inner().unwrap_or_else(|| self.pid()), Signal::TERM);
        let what = format!("{} to end after SIGTERM", self.name);
        crate::wait(&what, crate::DEADLINE, || self.child.try_wait().ok().flatten())
    }

    /// Whether the program has ended, however.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// # Panics
    /// The program has ended by itself; shows the end of what it said.
    pub fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended by itself, {status}", self.name);
        }
    }

    /// All that the program has said, in all its runs with this output file.
    #[must_use]
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Memory that is in use, in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was in use at a time, in bytes.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// How many files below `directory` it has open.
    pub(crate) fn open_below(&self, directory: &Path) -> usize {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let names = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
        names.filter(|name| name.starts_with(directory)).count()
    }

    /// A line of its status, see proc(5).
    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("a running program has a size") << 10
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn end_now(&mut self) {
        // The program itself first: whoever has started it ends with it, and not the other way
        // round, which would leave a moment in which it still runs.
        if let Ok(None) = self.child.try_wait()
            && let Some(inner) = self.inner()
        {
            let _ = kill_process(inner, Signal::KILL);
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    /// The program that another one has started, see [`Process::start_within`].
    fn inner(&self) -> Option<Pid> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_now();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let end = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the end of what {} said ---\n{}", self.name, end.join("\n"));
        }
    }
}
