//! Log lines for machines that have none: what a small web server would write, with the present
//! time, at a steady rate, into one file that is rotated by renaming.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The file is renamed to `….1` at this size, so that the demo needs at most twice as much for it.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Lines are written in steps of this length.
const STEP: Duration = Duration::from_millis(50);

const USERS: [&str; 6] = ["root", "admin", "alice", "bob", "deploy", "postgres"];
const PATHS: [&str; 6] =
    ["/", "/login", "/api/v1/orders", "/wp-login.php", "/static/app.js", "/.env"];
const AGENTS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/8.5.0",
    "zgrab/0.x",
];

/// A thread that writes until it is stopped.
#[derive(Debug)]
pub(super) struct Generator {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Generator {
    /// Writes `rate` lines per second to `path`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn start(path: &Path, rate: u32) -> Result<Self> {
        let mut output = Output::open(path.to_owned())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("generator".into()).spawn(move || {
            let started = Instant::now();
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()));
            let mut lines = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                let mut text = String::new();
                while lines < due {
                    line(&mut random, &mut text);
                    lines += 1;
                }
                output.write(text.as_bytes())?;
                std::thread::park_timeout(STEP);
            }
            Ok(())
        })?;
        Ok(Self { stop, thread })
    }

    /// # Errors
    /// The file could not be written.
    pub(super) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or(Ok(()))
    }
}

struct Output {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Output {
    fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        if self.bytes >= FILE_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(self.path.clone())?;
        }
        Ok(())
    }
}

/// xorshift64: enough for variety.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

fn line(random: &mut Random, out: &mut String) {
    use std::fmt::Write as _;
    let now = Timestamp::now();
    let iso = now.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00");
    let (a, b) = (random.below(254) + 1, random.below(254) + 1);
    let port = random.below(60_000) + 1024;
    let pid = random.below(30_000) + 300;
    let user = random.pick(&USERS);
    let _ = match random.below(10) {
        0..=2 => writeln!(
            out,
            "{iso} demo-web1 sshd[{pid}]: Failed password for {}{user} from 203.0.113.{a} port {port} ssh2",
            if random.below(2) == 0 { "invalid user " } else { "" },
        ),
        3 => writeln!(
            out,
            "{iso} demo-web1 sshd[{pid}]: Accepted publickey for {user} from 198.51.100.{b} port {port} \
             ssh2: ED25519 SHA256:3uOF2lPUzSb0iOuXkBM5ZT0a7zJIRk0cUUfFcW1fEV4"
        ),
        4 => writeln!(
            out,
            "{iso} demo-web1 sudo: {user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; \
             COMMAND=/usr/bin/systemctl restart nginx"
        ),
        5 => writeln!(
            out,
            "{iso} demo-web1 CRON[{pid}]: (root) CMD (test -x /usr/sbin/anacron || run-parts /etc/cron.hourly)"
        ),
        6 => writeln!(
            out,
            "{iso} demo-web1 systemd[1]: Started session-{pid}.scope - Session {pid} of User {user}."
        ),
        _ => writeln!(
            out,
            "192.0.2.{a} - - [{}] \"GET {} HTTP/1.1\" {} {port} \"-\" \"{}\"",
            now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            random.pick(&PATHS),
            [200, 200, 304, 404, 500][random.below(5) as usize],
            random.pick(&AGENTS),
        ),
    };
}
