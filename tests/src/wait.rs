//! Waiting for a condition, with a deadline and a name.

use std::time::{Duration, Instant};

/// For whatever should take seconds: generous, because the machine may be slow and busy. A test that
/// fails waits this long; a test that passes does not.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at a condition. A look may start a program, so not less.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns what `look` finds as soon as it finds something.
///
/// # Panics
/// It found nothing by the deadline; the message names `what`.
pub fn wait<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = started.elapsed();
        assert!(waited < deadline, "waited {} s in vain for {what}", waited.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// Returns as soon as `count` finds at least `enough`. However long that takes on a slow machine: the
/// [`DEADLINE`] begins anew whenever it finds more.
///
/// # Panics
/// It found no more for so long; the message names `what`, and how much there was.
pub fn wait_for_count(what: &str, enough: usize, mut count: impl FnMut() -> usize) {
    let mut found = count();
    while found < enough {
        found = wait(&format!("{enough} {what}, {found} so far"), DEADLINE, || {
            let now = count();
            (now > found).then_some(now)
        });
    }
}

/// Returns as soon as `holds` holds, within [`DEADLINE`].
///
/// # Panics
/// It did not hold by the deadline; the message names `what`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait(what, DEADLINE, || holds().then_some(()));
}
