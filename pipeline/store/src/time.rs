//! Time as the table has it: microseconds since 1970-01-01T00:00:00Z, and days since then.
//!
//! Calendar arithmetic after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
//! (days_from_civil, civil_from_days), proleptic Gregorian.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) const SECOND_US: i64 = 1_000_000;
pub(crate) const HOUR_US: i64 = 3600 * SECOND_US;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// The years that fit RFC 3339, so that every time can be shown and read back.
const TIME_MIN_US: i64 = -62_167_219_200 * SECOND_US;
const TIME_MAX_US: i64 = 253_402_300_800 * SECOND_US - 1;

/// Now, in microseconds.
pub(crate) fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A point in time as people write it: RFC 3339, a date, a date with a time (both UTC), `now`, or how
/// long ago (`90s`, `15m`, `2h`, `7d`, `1w`).
#[must_use]
pub fn parse_time(text: &str, now_us: i64) -> Option<i64> {
    let text = text.trim();
    if text == "now" {
        return Some(now_us);
    }
    if let Some(ago) = parse_span(text) {
        return now_us.checked_sub(ago);
    }
    parse_rfc3339(text)
        .or_else(|| parse_rfc3339(&format!("{text}Z")))
        .or_else(|| parse_rfc3339(&format!("{text}:00Z")))
        .or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")))
}

/// `90s`, `15m`, `2h`, `7d`, `1w`, in microseconds.
pub(crate) fn parse_span(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let count: u32 = digits.parse().ok()?;
    i64::from(count).checked_mul(seconds * SECOND_US)
}

/// RFC 3339 with any number of fractional digits (those behind microseconds are cut off). A leap
/// second is the last microsecond before it ends.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        bytes.get(range)?.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|b| expected.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_us, rest) = parse_fraction(&bytes[19..])?;
    let offset_seconds = parse_offset(rest)?;
    let (second, fraction_us) = if second == 60 { (59, 999_999) } else { (second, fraction_us) };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let time = (seconds - offset_seconds) * SECOND_US + fraction_us;
    (TIME_MIN_US..=TIME_MAX_US).contains(&time).then_some(time)
}

fn parse_fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = bytes.split_first() else { return Some((0, bytes)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let padded = digits[..count].iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some((padded.fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')), &digits[count..]))
}

/// `Z` or `±hh:mm`, in seconds east of UTC.
fn parse_offset(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(u8::is_ascii_digit) =>
        {
            let two = |a: u8, b: u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// RFC 3339, UTC: milliseconds, or microseconds if there are any.
#[must_use]
pub fn format_time(time_us: i64) -> String {
    let time_us = time_us.clamp(TIME_MIN_US, TIME_MAX_US);
    let (day, within) = (time_us.div_euclid(DAY_US), time_us.rem_euclid(DAY_US));
    let (second, fraction) = (within / SECOND_US, within % SECOND_US);
    let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let date = format_date(i32::try_from(day).expect("clamped to four-digit years"));
    if fraction % 1000 == 0 {
        format!("{date}T{clock}.{:03}Z", fraction / 1000)
    } else {
        format!("{date}T{clock}.{fraction:06}Z")
    }
}

/// The day, since 1970-01-01, that a time is in.
pub(crate) fn day_of(time_us: i64) -> i32 {
    i32::try_from(time_us.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// `YYYY-MM-DD`.
pub(crate) fn format_date(day: i32) -> String {
    let (year, month, day) = civil_from_days(i64::from(day));
    format!("{year:04}-{month:02}-{day:02}")
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_to_the_microsecond_in_utc() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-28T01:49:46.000Z", Some(1_795_830_586_000_000)),
            ("2026-11-28T02:49:46.5+01:00", Some(1_795_830_586_500_000)),
            ("2026-11-28 01:49:46.123456789Z", Some(1_795_830_586_123_456)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799_999_999)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2026-11-28T24:00:00Z", None),
            ("2026-11-28T01:49:46", None),
            ("2026-11-28T01:49:46.Z", None),
            ("2026-11-28T01:49:46+24:00", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("９026-11-28T01:49:46Z", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for time in [0, -1, 1_795_830_586_123_000, 1_709_164_800_000_001, TIME_MIN_US, TIME_MAX_US]
        {
            assert_eq!(parse_rfc3339(&format_time(time)), Some(time), "{}", format_time(time));
        }
        for day in (-800_000..2_900_000).step_by(97) {
            let text = format!("{}T00:00:00Z", format_date(day));
            if let Some(time) = parse_rfc3339(&text) {
                assert_eq!(day_of(time), day, "{text}");
            }
        }
    }

    #[test]
    fn people_write_times_in_many_ways() {
        let now = 1_795_830_586_000_000;
        for (text, expected) in [
            ("now", Some(now)),
            ("15m", Some(now - 900 * SECOND_US)),
            ("1w", Some(now - 7 * DAY_US)),
            ("2026-11-28", Some(1_795_824_000_000_000)),
            ("2026-11-28T01:49", Some(1_795_830_540_000_000)),
            ("2026-11-28T01:49:46", Some(now)),
            ("m", None),
            ("-5m", None),
            ("yesterday", None),
            ("5é", None),
        ] {
            assert_eq!(parse_time(text, now), expected, "{text}");
        }
    }
}
