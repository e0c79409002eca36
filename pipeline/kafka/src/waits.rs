//! librdkafka's waits, by a clock that nobody sets.
//!
//! librdkafka waits with C11's `cnd_timedwait`, which ends at a time of the wall clock. Set back by a day
//! meanwhile, that clock makes a wait of a millisecond last a day: what is to be sent stays where it is,
//! and who asks the client for something hangs. What this module defines takes the place of the C
//! library's own functions in every program that it is part of, which nothing but librdkafka calls
//! there: a condition is waited for by the monotonic clock.
//!
//! glibc and musl keep a `pthread_cond_t` in a `cnd_t` and a `pthread_mutex_t` in a `mtx_t`, and their other
//! functions of C11 (`cnd_signal`, `cnd_wait`, …) are those of POSIX by another name.
#![allow(unsafe_code, reason = "these functions are called by C")]

use libc::{c_int, pthread_cond_t, pthread_condattr_t, pthread_mutex_t, timespec};
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of `threads.h`, in glibc and in musl.
const SUCCESS: c_int = 0;
const ERROR: c_int = 2;
const TIMED_OUT: c_int = 4;

/// At the end of a wait librdkafka looks whether its time is over, by the monotonic clock. If the clock is set
/// between its look at the wall clock and ours, that costs this much at most.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Makes a condition.
///
/// # Safety
/// `condition` has the place for one.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_init(condition: *mut pthread_cond_t) -> c_int {
    let mut attributes = MaybeUninit::<pthread_condattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes are made before they are used, and used by nobody else.
    let made = unsafe {
        let _ = libc::pthread_condattr_init(attributes);
        let _ = libc::pthread_condattr_setclock(attributes, libc::CLOCK_MONOTONIC);
        libc::pthread_cond_init(condition, attributes)
    };
    if made == 0 { SUCCESS } else { ERROR }
}

/// Waits for `condition` as long as it is until the time `until` of the wall clock, at most [`WAIT_MAX`].
///
/// # Safety
/// `condition` was made by [`cnd_init`], and the calling thread holds `mutex`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: `until` is a time for as long as the call takes.
    let end = monotonic_end(wait_until(unsafe { *until }, SystemTime::now()));
    // SAFETY: as for this function.
    match unsafe { libc::pthread_cond_timedwait(condition, mutex, &raw const end) } {
        0 => SUCCESS,
        libc::ETIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}

/// How long a wait until a time of the wall clock is.
fn wait_until(until: timespec, now: SystemTime) -> Duration {
    let until = Duration::new(until.tv_sec.try_into().unwrap_or(0), until.tv_nsec as u32);
    until.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default()).min(WAIT_MAX)
}

/// When a wait that begins now ends, by the monotonic clock.
fn monotonic_end(wait: Duration) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let end = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + wait;
    timespec { tv_sec: end.as_secs() as _, tv_nsec: end.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn timespec_of(time: SystemTime) -> timespec {
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        timespec { tv_sec: since.as_secs() as _, tv_nsec: since.subsec_nanos().into() }
    }

    #[test]
    fn a_wait_ends_though_the_clock_is_set_back_by_a_day_when_it_begins() {
        let mut condition = MaybeUninit::uninit();
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        let until = timespec_of(SystemTime::now() + DAY);
        // SAFETY: both are of this function alone.
        let waited = unsafe {
            assert_eq!(cnd_init(condition.as_mut_ptr()), SUCCESS);
            libc::pthread_mutex_lock(&raw mut mutex);
            cnd_timedwait(condition.as_mut_ptr(), &raw mut mutex, &raw const until)
        };
        assert_eq!(waited, TIMED_OUT);
    }

    #[test]
    fn a_wait_takes_its_time_unless_the_clock_is_set() {
        let now = SystemTime::now();
        let wait = Duration::from_millis(20);
        assert_eq!(wait_until(timespec_of(now + wait), now), wait);
        assert_eq!(wait_until(timespec_of(now + wait), now + DAY), Duration::ZERO);
        assert_eq!(wait_until(timespec_of(now + wait), now - DAY), WAIT_MAX);
    }
}
