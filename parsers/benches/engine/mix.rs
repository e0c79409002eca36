//! Lines of many products in random order.
//!
//! Two of them: the samples of all shipped packs as they are, JSON documents, CEF and Windows events
//! among them; and plain syslog lines of 16 daemons, made from the samples' messages with headers and
//! numbers of their own, as servers write most of their lines.

use super::plain::PlainRules;
use super::{RECEIVED_UNIX_NANOS, engine, measure, ratio, report, shuffle};
use logweir_parsers::time::TimeContext;
use logweir_parsers::{RuleSet, Zone, header};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

/// The packs whose messages make up the syslog mix.
const DAEMONS: [&str; 16] = [
    "sshd",
    "sudo",
    "su",
    "pam",
    "cron",
    "systemd",
    "kernel",
    "linux.account",
    "postfix",
    "dovecot",
    "bind",
    "dhcpd",
    "dnsmasq",
    "openvpn",
    "haproxy",
    "proftpd",
];
const SYSLOG_LINES: usize = 8_000;

/// A line and the pack that it is known to be of.
pub(super) type Known = (usize, Vec<u8>);

/// Reports the time of the lines, and that of the plain way.
pub(super) fn compare(shipped: &Arc<RuleSet>, name: &str, known: &[Known]) {
    let lines: Vec<Vec<u8>> = known.iter().map(|(_, line)| line.clone()).collect();
    let bytes = lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    let name = format!("{name} in random order, {} rules, {bytes} bytes", shipped.len());
    report(&name, engine(shipped, &lines));
    // Both ways on the lines that regexes alone can take apart.
    let packs: BTreeSet<usize> = known.iter().map(|(pack, _)| *pack).collect();
    let plain = PlainRules::new(shipped, packs.into_iter());
    let mut out = Vec::with_capacity(1 << 20);
    let mut able = known.to_vec();
    able.retain(|(pack, line)| {
        out.clear();
        plain.parse(*pack, line, &mut out)
    });
    let lines: Vec<Vec<u8>> = able.iter().map(|(_, line)| line.clone()).collect();
    let ours = engine(shipped, &lines);
    report(&format!("  {} of {} of them", able.len(), known.len()), ours);
    let theirs = measure(&able, |able| {
        out.clear();
        for (pack, line) in able {
            black_box(plain.parse(*pack, line, &mut out));
        }
    });
    report("  the plain way, each line's pack told", theirs);
    ratio("against the engine", theirs / ours);
}

/// Every sample line with the pack of its rule.
pub(super) fn samples(shipped: &Arc<RuleSet>) -> Vec<Known> {
    let mut lines: Vec<Known> = shipped
        .samples()
        .map(|(rule, sample)| (shipped.pack_of(rule), sample.line.clone().into_bytes()))
        .collect();
    shuffle(&mut lines);
    lines
}

/// `Nov 28 10:15:02 web7 sshd[4711]: …`, the seconds ascending.
pub(super) fn syslog(shipped: &Arc<RuleSet>) -> Vec<Known> {
    let zone = Zone::utc();
    let time = TimeContext { received_unix_nanos: RECEIVED_UNIX_NANOS, zone: &zone };
    let mut messages: Vec<Vec<(usize, String, String)>> = Vec::new();
    for name in DAEMONS {
        let pack = shipped.pack_named(name).expect("a shipped pack");
        let mut own = Vec::new();
        for (rule, sample) in shipped.samples() {
            let header = header::parse(sample.line.as_bytes(), &time);
            let Some(program) = header.program.filter(|_| shipped.pack_of(rule) == pack) else {
                continue;
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            own.push((pack, text(program), text(header.message)));
        }
        assert!(!own.is_empty(), "{name} has no sample with a header");
        messages.push(own);
    }
    let mut random = Random(20_261_128);
    (0..SYSLOG_LINES)
        .map(|at| {
            let own = &messages[random.below(messages.len())];
            let (pack, program, message) = &own[random.below(own.len())];
            let message = random.renumbered(message);
            let (host, pid, second) = (random.below(40), 1_000 + random.below(60_000), at / 100);
            let (minute, second) = (15 + second / 60, second % 60);
            let line =
                format!("Nov 28 10:{minute}:{second:02} web{host} {program}[{pid}]: {message}");
            (*pack, line.into_bytes())
        })
        .collect()
}

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// The text with other digits in numbers of four digits and more.
    fn renumbered(&mut self, text: &str) -> String {
        let mut out = text.as_bytes().to_vec();
        let mut at = 0;
        while at < out.len() {
            let digits = out[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            for digit in out[at..at + digits].iter_mut().skip(1).filter(|_| digits >= 4) {
                *digit = b'0' + self.below(10) as u8;
            }
            at += digits.max(1);
        }
        String::from_utf8(out).expect("digits for digits")
    }
}
