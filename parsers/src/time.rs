//! Times in log lines: formats compiled once, parsed by hand, zones by `jiff`.
//!
//! A missing year is the latest one that does not put the time more than a month ahead of the time of
//! reading; a missing zone is the context's. In a fold or gap of daylight saving, jiff's "compatible" choice is
//! taken; `engine/unsure.rs` tells of folds.

use crate::out::Out;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

const NANOS: i64 = 1_000_000_000;
/// How far ahead of the time of reading a time without a year may be: clocks and zones differ by a
/// day, and a file of last June must not become one of next June.
const AHEAD_MAX_NANOS: i64 = 31 * 86_400 * NANOS;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    kind: ZoneKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ZoneKind {
    /// Seconds east of UTC.
    Fixed(i32),
    /// Not packed: it is looked up when the rules are read, not when their first line comes.
    #[serde(skip)]
    Named(TimeZone),
}

impl Zone {
    #[must_use]
    pub fn utc() -> Self {
        Self { kind: ZoneKind::Fixed(0) }
    }

    /// `UTC`, `local`, `+02:00`, or an IANA name such as `Europe/Berlin`.
    ///
    /// # Errors
    /// The name is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = match text {
            "UTC" | "utc" | "Z" => ZoneKind::Fixed(0),
            "local" => ZoneKind::Named(TimeZone::system()),
            _ => match offset(text.as_bytes()) {
                Some((seconds, [])) => ZoneKind::Fixed(seconds),
                _ => ZoneKind::Named(
                    TimeZone::get(text).map_err(|_| format!("unknown time zone `{text}`"))?,
                ),
            },
        };
        Ok(Self { kind })
    }

    /// Whether it has the same offset at all times.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.kind, ZoneKind::Fixed(_))
    }

    /// Whether clocks show the time of this second, since 1970, at another one, too.
    pub(crate) fn is_ambiguous(&self, unix_seconds: i64) -> bool {
        let ZoneKind::Named(zone) = &self.kind else { return false };
        jiff::Timestamp::from_second(unix_seconds)
            .is_ok_and(|time| zone.to_ambiguous_timestamp(zone.to_datetime(time)).is_ambiguous())
    }

    fn unix_nanos(&self, date: Date, nanos_of_day: i64) -> Option<i64> {
        match &self.kind {
            ZoneKind::Fixed(offset) => {
                // The first days that 64 bits can tell begin before what 64 bits can tell.
                let seconds = i128::from(date.days() * 86_400 - i64::from(*offset));
                i64::try_from(seconds * i128::from(NANOS) + i128::from(nanos_of_day)).ok()
            }
            ZoneKind::Named(zone) => {
                // A leap second counts as the first second after it, and 24:00 as the next day's 0:00.
                let date = Date::of_days(date.days() + nanos_of_day / (86_400 * NANOS));
                let seconds = nanos_of_day / NANOS % 86_400;
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                let civil = DateTime::new(
                    i16::try_from(date.year).ok()?,
                    date.month as i8,
                    date.day as i8,
                    hour as i8,
                    minute as i8,
                    second as i8,
                    (nanos_of_day % NANOS) as i32,
                )
                .ok()?;
                let stamp = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
                i64::try_from(stamp.as_nanosecond()).ok()
            }
        }
    }
}

/// What a text may leave open.
#[derive(Debug, Clone, Copy)]
pub struct TimeContext<'a> {
    /// Nanoseconds since 1970.
    pub received_unix_nanos: i64,
    pub zone: &'a Zone,
}

/// The formats that have a name, for whoever misspells one.
pub(crate) const NAMES: &str =
    "rfc3339 iso8601 rfc3164 clf apache_error unix unix_ms unix_us unix_ns";

/// A compiled format.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimeFormat {
    steps: Vec<Step>,
    special: Option<Special>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Special {
    Rfc3339,
    /// Units per second.
    Unix(i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    Literal(u8),
    Spaces,
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    DayName,
    Hour,
    Hour12,
    HalfDay,
    Minute,
    Second,
    /// A fraction if a `.` or `,` and digits follow.
    OptionalFraction,
    Fraction,
    Offset,
    ZoneName,
    DayOfYear,
    Unix,
}

impl TimeFormat {
    /// A name (`rfc3339`, `iso8601`, `rfc3164`, `clf`, `apache_error`, `unix`, `unix_ms`, `unix_us`,
    /// `unix_ns`) or a pattern of `%` letters as in strptime.
    ///
    /// # Errors
    /// An unknown letter, or none for the date.
    pub fn compile(text: &str) -> Result<Self, String> {
        let special = match text {
            "rfc3339" | "iso8601" => Some(Special::Rfc3339),
            "unix" => Some(Special::Unix(1)),
            "unix_ms" => Some(Special::Unix(1_000)),
            "unix_us" => Some(Special::Unix(1_000_000)),
            "unix_ns" => Some(Special::Unix(NANOS)),
            _ => None,
        };
        let pattern = match text {
            "rfc3164" => "%b %e %H:%M:%S",
            "clf" => "%d/%b/%Y:%H:%M:%S %z",
            "apache_error" => "%a %b %d %H:%M:%S %Y",
            _ if special.is_some() => "",
            pattern => pattern,
        };
        if special.is_none() && !pattern.contains('%') {
            return Err("it has no `%` letter, so it would read that text only".to_owned());
        }
        let steps = steps(pattern)?;
        if special.is_none() && !has_date(&steps) {
            return Err("it has no date, so it would never read anything".to_owned());
        }
        Ok(Self { steps, special })
    }

    /// Nanoseconds since 1970; `None` if `text` does not have this form as a whole.
    #[must_use]
    pub fn parse(&self, text: &[u8], context: &TimeContext<'_>) -> Option<i64> {
        match self.special {
            Some(Special::Rfc3339) => {
                let (found, rest) = rfc3339(text)?;
                rest.is_empty().then(|| found.resolve(context)).flatten()
            }
            Some(Special::Unix(units)) => unix(text, units),
            None => self.parse_steps(text, context),
        }
    }

    fn parse_steps(&self, text: &[u8], context: &TimeContext<'_>) -> Option<i64> {
        let mut parts = Parts::default();
        let mut rest = text;
        for step in &self.steps {
            rest = step.take(rest, &mut parts)?;
        }
        if rest.is_empty() { parts.resolve(context) } else { None }
    }
}

/// Whether there is a day; of what year, the time of reading may tell.
fn has_date(steps: &[Step]) -> bool {
    let has = |step: Step| steps.contains(&step);
    let month = has(Step::Month) || has(Step::MonthName);
    has(Step::Unix) || has(Step::DayOfYear) || month && has(Step::Day)
}

fn steps(pattern: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let step = match byte {
            b' ' => Step::Spaces,
            b'%' => match bytes.next() {
                Some(b'Y') => Step::Year,
                Some(b'y') => Step::ShortYear,
                Some(b'm') => Step::Month,
                Some(b'b' | b'B') => Step::MonthName,
                Some(b'd' | b'e') => Step::Day,
                Some(b'a' | b'A') => Step::DayName,
                Some(b'H') => Step::Hour,
                Some(b'I') => Step::Hour12,
                Some(b'p') => Step::HalfDay,
                Some(b'M') => Step::Minute,
                Some(b'S') => Step::Second,
                Some(b'f') => Step::Fraction,
                Some(b'z') => Step::Offset,
                Some(b'Z') => Step::ZoneName,
                Some(b'j') => Step::DayOfYear,
                Some(b's') => Step::Unix,
                Some(b'%') => Step::Literal(b'%'),
                Some(b'.') if bytes.peek() == Some(&b'f') => {
                    bytes.next();
                    Step::OptionalFraction
                }
                other => {
                    let letter = other.map_or(String::new(), |b| char::from(b).to_string());
                    return Err(format!("unknown letter `%{letter}`"));
                }
            },
            literal => Step::Literal(literal),
        };
        // Seconds take their fraction along unless the pattern asks for it.
        let second = step == Step::Second;
        steps.push(step);
        let asked = matches!(bytes.peek(), Some(b'.' | b',' | b'%'));
        if second && !asked {
            steps.push(Step::OptionalFraction);
        }
    }
    Ok(steps)
}

impl Step {
    fn take<'t>(&self, text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
        let mut number = |widths: RangeInclusive<usize>, slot: fn(&mut Parts, i64)| {
            let (value, rest) = digits(text, widths)?;
            slot(parts, value);
            Some(rest)
        };
        match self {
            Self::Literal(byte) => text.strip_prefix(&[*byte]),
            Self::Spaces => {
                let rest = text.trim_ascii_start();
                (rest.len() < text.len()).then_some(rest)
            }
            Self::Year => number(4..=4, |p, n| p.year = Some(n)),
            Self::ShortYear => {
                number(2..=2, |p, n| p.year = Some(if n < 69 { 2000 + n } else { 1900 + n }))
            }
            Self::Month => number(1..=2, |p, n| p.month = n),
            Self::Day => {
                let (value, rest) = digits(text.trim_ascii_start(), 1..=2)?;
                parts.day = value;
                Some(rest)
            }
            Self::Hour | Self::Hour12 => number(1..=2, |p, n| p.hour = n),
            Self::Minute => number(2..=2, |p, n| p.minute = n),
            Self::Second => number(1..=2, |p, n| p.second = n),
            Self::DayOfYear => number(1..=3, |p, n| p.day_of_year = Some(n)),
            Self::Unix => number(1..=18, |p, n| p.unix = Some(n)),
            Self::MonthName => {
                let (month, rest) = month_name(text)?;
                parts.month = month;
                Some(rest)
            }
            Self::DayName => {
                let letters = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
                (letters >= 2).then(|| &text[letters..])
            }
            Self::HalfDay => {
                let (half, rest) = text.split_at_checked(2)?;
                parts.half_day = Some(match half.to_ascii_lowercase().as_slice() {
                    b"am" => false,
                    b"pm" => true,
                    _ => return None,
                });
                Some(rest)
            }
            Self::OptionalFraction => match text.first() {
                Some(b'.' | b',') if text.get(1).is_some_and(u8::is_ascii_digit) => {
                    fraction(&text[1..], parts)
                }
                _ => Some(text),
            },
            Self::Fraction => fraction(text, parts),
            Self::Offset => {
                let (seconds, rest) = offset(text)?;
                parts.offset = Some(seconds);
                Some(rest)
            }
            Self::ZoneName => zone_name(text, parts),
        }
    }
}

fn zone_name<'t>(text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
    if let Some((seconds, rest)) = offset(text).or_else(|| behind_gmt(text)) {
        parts.offset = Some(seconds);
        return Some(rest);
    }
    let length = text
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'))
        .count();
    let name = std::str::from_utf8(&text[..length]).ok().filter(|name| !name.is_empty())?;
    match ABBREVIATIONS.iter().find(|(_, names)| names.split(' ').any(|known| known == name)) {
        Some((minutes, _)) => parts.offset = Some(minutes * 60),
        // A word of rules, which says nothing of where a line was written.
        None if name == "local" => return None,
        None => parts.zone = Some(Zone::parse(name).ok()?),
    }
    Some(&text[length..])
}

/// Minutes east of UTC, and what the zones there are called. Abbreviations are ambiguous over the world;
/// these are what servers write.
const ABBREVIATIONS: [(i32, &str); 26] = [
    (0, "UTC GMT WET"),
    (60, "CET BST WEST WAT"),
    (120, "CEST EET SAST CAT"),
    (180, "EEST MSK EAT IDT"),
    (300, "PKT"),
    (330, "IST"),
    (420, "WIB"),
    (480, "HKT SGT AWST WITA"),
    (540, "JST KST WIT"),
    (570, "ACST"),
    (600, "AEST"),
    (630, "ACDT"),
    (660, "AEDT"),
    (720, "NZST"),
    (780, "NZDT"),
    (-150, "NDT"),
    (-180, "ADT"),
    (-210, "NST"),
    (-240, "EDT AST"),
    (-300, "EST CDT"),
    (-360, "CST MDT"),
    (-420, "MST PDT"),
    (-480, "PST AKDT"),
    (-540, "AKST HDT"),
    (-600, "HST"),
    (-660, "SST"),
];

/// `GMT+2`, `UTC-0500`, `GMT+05:30`.
fn behind_gmt(text: &[u8]) -> Option<(i32, &[u8])> {
    let behind = text.strip_prefix(b"GMT").or_else(|| text.strip_prefix(b"UTC"))?;
    signed(behind, 1..=2)
}

#[derive(Debug, Clone, Copy)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let valid = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
        (valid && (0..=9999).contains(&year)).then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01 (proleptic Gregorian; the era arithmetic of H. Hinnant's
    /// "chrono-compatible low-level date algorithms").
    fn days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let of_era = year - era * 400;
        let shifted = (self.month + 9) % 12;
        let of_year = (153 * shifted + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    fn of_days(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days - era * 146_097;
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[derive(Debug, Default)]
struct Parts {
    year: Option<i64>,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    half_day: Option<bool>,
    day_of_year: Option<i64>,
    unix: Option<i64>,
    offset: Option<i32>,
    zone: Option<Zone>,
}

impl Parts {
    fn resolve(&self, context: &TimeContext<'_>) -> Option<i64> {
        if let Some(seconds) = self.unix {
            return seconds.checked_mul(NANOS)?.checked_add(self.nanos);
        }
        let hour = match self.half_day {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        let midnight = hour == 24 && self.minute == 0 && self.second == 0;
        if (hour > 23 && !midnight) || self.minute > 59 || self.second > 60 {
            return None;
        }
        let nanos_of_day = ((hour * 60 + self.minute) * 60 + self.second) * NANOS + self.nanos;
        let fixed = self.offset.map(|seconds| Zone { kind: ZoneKind::Fixed(seconds) });
        let zone = fixed.as_ref().or(self.zone.as_ref()).unwrap_or(context.zone);
        if let Some(year) = self.year {
            return zone.unix_nanos(self.date(year)?, nanos_of_day);
        }
        let received = Date::of_days(context.received_unix_nanos.div_euclid(86_400 * NANOS)).year;
        // The 29th of February may be up to eight years away (around 1900 and 2100).
        let span = if (self.month, self.day) == (2, 29) { 8 } else { 1 };
        let latest = context.received_unix_nanos.saturating_add(AHEAD_MAX_NANOS);
        let candidate = |year| {
            let date = self.date(year)?;
            // No zone is a day away: what is too late by that needs no conversion, which is the cost.
            let earliest = (date.days() - 1).saturating_mul(86_400 * NANOS);
            (earliest <= latest).then(|| zone.unix_nanos(date, nanos_of_day))?
        };
        let years = (received - span..=received + 1).rev();
        years.filter_map(candidate).find(|nanos| *nanos <= latest)
    }

    fn date(&self, year: i64) -> Option<Date> {
        if let Some(day) = self.day_of_year {
            let first = Date::new(year, 1, 1)?.days();
            return Some(Date::of_days(first + day - 1))
                .filter(|date| date.year == year && day > 0);
        }
        if self.month == 0 && self.day == 0 {
            return None;
        }
        Date::new(year, self.month, self.day)
    }
}

/// A date and time as RFC 3339 has it, with the liberties of ISO 8601 and of loggers: a space for the
/// `T`, a comma before the fraction, no colon in the offset, no offset. What follows is returned.
pub(crate) fn rfc3339_prefix<'t>(
    text: &'t [u8],
    context: &TimeContext<'_>,
) -> Option<(i64, bool, &'t [u8])> {
    let (parts, rest) = rfc3339(text)?;
    let known = parts.offset.is_some();
    Some((parts.resolve(context)?, known, rest))
}

/// What follows a text in the form of [`rfc3339_prefix`] or [`rfc3164_prefix`], whether there is such a time or
/// not: the 30th of February has the form.
pub(crate) fn behind_form(text: &[u8]) -> Option<&[u8]> {
    rfc3339(text).or_else(|| rfc3164(text)).map(|(_, rest)| rest)
}

/// Whether a text is a date, or a date and time, as an index reads one: `2026-11-28`, and what
/// [`rfc3339_prefix`] reads.
pub(crate) fn is_date(text: &[u8]) -> bool {
    let context = TimeContext { received_unix_nanos: 0, zone: &Zone::utc() };
    let mut midnight = *b"YYYY-MM-DDT00:00";
    let text = match text.len() {
        10 => {
            midnight[..10].copy_from_slice(text);
            &midnight
        }
        _ => text,
    };
    rfc3339_prefix(text, &context).is_some_and(|(.., rest)| rest.is_empty())
}

/// Texts for which [`is_date`] holds, of each form that loggers write.
pub(crate) fn dates() -> Vec<String> {
    let fractions = ["", ":02", ":02.5", ":02.512", ":02,512", ":02.512345", ":02.512345678"];
    let mut dates = vec!["2026-11-28".to_owned()];
    for before in ["2026-11-28T10:15", "2026-11-28 10:15", "2026/11/28 10:15"] {
        for fraction in fractions {
            let zoned = ["", "Z", "+09:00", "+0900", " +0900"];
            dates.extend(zoned.map(|zone| format!("{before}{fraction}{zone}")));
        }
    }
    dates
}

/// The zone of the first time in a syslog header that names its offset as RFC 3339 has it.
pub(crate) fn header_zone(header: &[u8]) -> Option<Zone> {
    header.split(|byte| *byte == b' ').find_map(|word| {
        let text = word.rsplit(|byte| *byte == b'>').next()?;
        Some(Zone { kind: ZoneKind::Fixed(rfc3339(text)?.0.offset?) })
    })
}

fn rfc3339(text: &[u8]) -> Option<(Parts, &[u8])> {
    let mut parts = Parts::default();
    let two = |at: usize| {
        let pair = text.get(at..at + 2)?;
        (pair[0].is_ascii_digit() && pair[1].is_ascii_digit())
            .then(|| i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0'))
    };
    let byte = |at: usize| text.get(at).copied();
    let (Some(b'-' | b'/'), Some(b'-' | b'/'), Some(b'T' | b't' | b' ' | b'_')) =
        (byte(4), byte(7), byte(10))
    else {
        return None;
    };
    parts.year = Some(two(0)? * 100 + two(2)?);
    (parts.month, parts.day) = (two(5)?, two(8)?);
    (parts.hour, parts.minute) = (two(11)?, two(14)?);
    if byte(13) != Some(b':') {
        return None;
    }
    let mut rest = &text[16..];
    if rest.first() == Some(&b':') {
        parts.second = two(17)?;
        rest = Step::OptionalFraction.take(&text[19..], &mut parts)?;
    }
    let after_space =
        rest.strip_prefix(b" ").filter(|after| matches!(after.first(), Some(b'+' | b'-')));
    if let Some((seconds, after)) = offset(rest).or_else(|| offset(after_space?)) {
        parts.offset = Some(seconds);
        rest = after;
    }
    Some((parts, rest))
}

/// `Mmm dd hh:mm:ss` with what is found beside it: a year in front, in the middle or behind, a
/// fraction, and a zone's abbreviation that a colon or a year follows (a host may be called `EST`).
pub(crate) fn rfc3164_prefix<'t>(
    text: &'t [u8],
    context: &TimeContext<'_>,
) -> Option<(i64, bool, &'t [u8])> {
    let (parts, rest) = rfc3164(text)?;
    Some((parts.resolve(context)?, parts.offset.is_some(), rest))
}

fn rfc3164(text: &[u8]) -> Option<(Parts, &[u8])> {
    let mut parts = Parts::default();
    let text = take_year(text, &mut parts).unwrap_or(text);
    let (month, rest) = month_name(text)?;
    parts.month = month;
    let rest = Step::Spaces.take(rest, &mut parts)?;
    let rest = Step::Day.take(rest, &mut parts)?;
    let rest = Step::Spaces.take(rest, &mut parts)?;
    let rest = take_year(rest, &mut parts).unwrap_or(rest);
    let (hour, rest) = digits(rest, 1..=2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2..=2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2..=2)?;
    (parts.hour, parts.minute, parts.second) = (hour, minute, second);
    let rest = Step::OptionalFraction.take(rest, &mut parts)?;
    let rest = take_trailing_year(rest, &mut parts)
        .or_else(|| take_abbreviation(rest, &mut parts))
        .unwrap_or(rest);
    Some((parts, rest))
}

/// Month, day, hour, minute and second, of the year and in the zone that the context suggests.
pub(crate) fn without_year(
    (month, day, hour, minute, second): (u32, u32, u32, u32, u32),
    context: &TimeContext<'_>,
) -> Option<i64> {
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(i64::from);
    Parts { month, day, hour, minute, second, ..Parts::default() }.resolve(context)
}

/// What a clock in the context's zone showed when one in UTC would have shown `civil_nanos`.
pub(crate) fn without_zone(civil_nanos: i64, context: &TimeContext<'_>) -> Option<i64> {
    const DAY_NANOS: i64 = 86_400 * NANOS;
    let date = Date::of_days(civil_nanos.div_euclid(DAY_NANOS));
    context.zone.unix_nanos(date, civil_nanos.rem_euclid(DAY_NANOS))
}

/// `2026 ` in front of what follows.
fn take_year<'t>(text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
    let (year, after) = digits(text, 4..=4)?;
    let rest = after.strip_prefix(b" ")?;
    parts.year = Some(year);
    Some(rest)
}

/// ` 2026` behind the time.
fn take_trailing_year<'t>(text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
    let (year, after) = digits(text.strip_prefix(b" ")?, 4..=4)?;
    // An address of IPv6 may begin with a year, too.
    let ends = matches!(after, [b' ', ..] | [b':'] | [b':', b' ', ..]);
    let fits = parts.year.is_none() && (1990..2100).contains(&year) && ends;
    fits.then(|| {
        parts.year = Some(year);
        after
    })
}

/// ` CEST:` or ` CEST 2026` behind the time.
fn take_abbreviation<'t>(text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
    let word = text.strip_prefix(b" ")?;
    let letters = word.iter().take(5).take_while(|b| b.is_ascii_uppercase()).count();
    let after = word.get(letters..).filter(|_| (3..=4).contains(&letters))?;
    let mut found = Parts { year: parts.year, ..Parts::default() };
    let rest =
        if after.first() == Some(&b':') { after } else { take_trailing_year(after, &mut found)? };
    zone_name(&word[..letters], &mut found)?;
    (parts.year, parts.offset) = (found.year, Some(found.offset?));
    Some(rest)
}

fn month_name(text: &[u8]) -> Option<(i64, &[u8])> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let short = text.first_chunk::<3>()?.map(|letter| letter.to_ascii_lowercase());
    let month = NAMES.iter().position(|name| **name == short)?;
    let letters = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    Some((month as i64 + 1, &text[letters..]))
}

fn digits(text: &[u8], widths: RangeInclusive<usize>) -> Option<(i64, &[u8])> {
    let count = text.iter().take(*widths.end()).take_while(|b| b.is_ascii_digit()).count();
    if count < *widths.start() {
        return None;
    }
    let number = text[..count].iter().fold(0_i64, |n, b| n * 10 + i64::from(b - b'0'));
    Some((number, &text[count..]))
}

fn fraction<'t>(text: &'t [u8], parts: &mut Parts) -> Option<&'t [u8]> {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let mut nanos = 0;
    for at in 0..9 {
        let digit = text[..count].get(at).map_or(0, |b| i64::from(b - b'0'));
        nanos = nanos * 10 + digit;
    }
    parts.nanos = nanos;
    Some(&text[count..])
}

/// `Z`, `+02:00`, `+0200`, `+02`: seconds east of UTC and what follows.
fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    match text.split_first()? {
        (b'Z' | b'z', rest) => Some((0, rest)),
        _ => signed(text, 2..=2),
    }
}

/// As [`offset`], with a sign and so many digits of the hour.
fn signed(text: &[u8], hours: RangeInclusive<usize>) -> Option<(i32, &[u8])> {
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = digits(rest, hours)?;
    let after = rest.strip_prefix(b":").unwrap_or(rest);
    let (minutes, rest) = digits(after, 2..=2).unwrap_or((0, rest));
    (hours <= 23 && minutes <= 59).then(|| (sign * (hours * 3600 + minutes * 60) as i32, rest))
}

/// Seconds since 1970, with a fraction or not, as nanoseconds.
pub(crate) fn unix_seconds(text: &[u8]) -> Option<i64> {
    unix(text, 1)
}

fn unix(text: &[u8], units: i64) -> Option<i64> {
    let (negative, digits_text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let length = digits_text.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole: i64 = std::str::from_utf8(&digits_text[..length]).ok()?.parse().ok()?;
    let rest = &digits_text[length..];
    let mut nanos = whole.checked_mul(NANOS / units)?;
    if let Some(fraction_text) = rest.strip_prefix(b".") {
        let mut parts = Parts::default();
        let rest = fraction(fraction_text, &mut parts)?;
        nanos = nanos.checked_add(parts.nanos / units)?;
        if !rest.is_empty() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    Some(if negative { -nanos } else { nanos })
}

/// Appends the time in RFC 3339, UTC, with 3 digits of fraction, or 6 or 9 where they are needed.
pub fn write_rfc3339(out: &mut Vec<u8>, unix_nanos: i64) {
    let (text, len) = rfc3339_text(unix_nanos);
    out.extend_from_slice(&text[..len]);
}

/// The text that [`write_rfc3339`] appends, at the beginning of an array.
fn rfc3339_text(unix_nanos: i64) -> ([u8; 30], usize) {
    let date = Date::of_days(unix_nanos.div_euclid(86_400 * NANOS));
    let nanos_of_day = unix_nanos.rem_euclid(86_400 * NANOS);
    let seconds = (nanos_of_day / NANOS) as u32;
    let nanos = (nanos_of_day % NANOS) as u32;
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    digits_into(&mut text[0..4], date.year as u32);
    digits_into(&mut text[5..7], date.month as u32);
    digits_into(&mut text[8..10], date.day as u32);
    digits_into(&mut text[11..13], seconds / 3600);
    digits_into(&mut text[14..16], seconds / 60 % 60);
    digits_into(&mut text[17..19], seconds % 60);
    let fraction = if nanos.is_multiple_of(1_000_000) {
        digits_into(&mut text[20..23], nanos / 1_000_000);
        3
    } else if nanos.is_multiple_of(1_000) {
        digits_into(&mut text[20..26], nanos / 1_000);
        6
    } else {
        digits_into(&mut text[20..29], nanos);
        9
    };
    text[20 + fraction] = b'Z';
    (text, 21 + fraction)
}

/// Writes times as [`write_rfc3339`] does; the minute is remembered, because lines of one file follow
/// one another within it.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    /// When the minute begins: nanoseconds since 1970.
    minute: i64,
    /// The last time that was written; all zero before the first.
    text: [u8; 24],
}

impl Stamp {
    pub(crate) fn write(&mut self, unix_nanos: i64, out: &mut Out) {
        const MILLI: u64 = 1_000_000;
        const MINUTE: i64 = 60 * NANOS;
        let nanos = unix_nanos.wrapping_sub(self.minute).cast_unsigned();
        let (millis, finer) = (nanos / MILLI, nanos % MILLI);
        if millis >= 60_000 || finer != 0 || self.text[0] == 0 {
            let (text, len) = rfc3339_text(unix_nanos);
            let minute = unix_nanos.checked_sub(unix_nanos.rem_euclid(MINUTE));
            if let (Ok(whole), Some(minute)) = (text[..len].try_into(), minute) {
                (self.minute, self.text) = (minute, whole);
            }
            out.block(&text, len);
            return;
        }
        let (seconds, fraction) = (millis as u32 / 1000, millis as u32 % 1000);
        let text = &mut self.text;
        [text[17], text[18]] = two_digits(seconds);
        text[20] = b'0' + (fraction / 100) as u8;
        [text[21], text[22]] = two_digits(fraction % 100);
        out.array(text);
    }
}

fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The lowest digits of `value`, as many as there is room for.
fn digits_into(room: &mut [u8], mut value: u32) {
    for slot in room.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, text: &str, expected: Option<&str>) {
        let zone = Zone::utc();
        // 2026-11-28T12:00:00Z
        let context = TimeContext { received_unix_nanos: 1_795_867_200 * NANOS, zone: &zone };
        let got =
            TimeFormat::compile(format).unwrap().parse(text.as_bytes(), &context).map(|nanos| {
                let mut out = Vec::new();
                write_rfc3339(&mut out, nanos);
                String::from_utf8(out).unwrap()
            });
        assert_eq!(got.as_deref(), expected, "{format} {text}");
    }

    #[test]
    fn formats_read_what_they_name() {
        check("rfc3339", "2026-11-28T01:49:46.123456+02:00", Some("2026-11-27T23:49:46.123456Z"));
        check("rfc3339", "2026-11-28 01:49:46,5", Some("2026-11-28T01:49:46.500Z"));
        check("rfc3339", "2026-02-30T00:00:00Z", None);
        let earliest = "1677-09-21T00:12:43.145224192Z";
        check("rfc3339", earliest, Some(earliest));
        check("rfc3339", "1677-09-21T00:12:43.145224191Z", None);
        check("rfc3339", "9999-12-31T23:59:59Z", None);
        check("rfc3164", "Nov  8 01:02:03", Some("2026-11-08T01:02:03.000Z"));
        check("rfc3164", "Feb 29 01:02:03", Some("2024-02-29T01:02:03.000Z"));
        check("clf", "22/Nov/2026:18:21:01 +0900", Some("2026-11-22T09:21:01.000Z"));
        check(
            "apache_error",
            "Wed Oct 11 14:32:52.123456 2017",
            Some("2017-10-11T14:32:52.123456Z"),
        );
        check("unix", "1700000000.25", Some("2023-11-14T22:13:20.250Z"));
        check("unix_ns", "1700000000250000000", Some("2023-11-14T22:13:20.250Z"));
        check("unix_ns", "99999999999999999999", None);
        check("unix_ms", "1700000000250", Some("2023-11-14T22:13:20.250Z"));
        check("%d/%m/%Y %I:%M:%S %p", "01/02/2026 12:00:01 AM", Some("2026-02-01T00:00:01.000Z"));
        check("%Y-%m-%d %H:%M:%S %Z", "2026-01-01 00:00:00 CET", Some("2025-12-31T23:00:00.000Z"));
        for (zone, expected) in [
            ("GMT", Some("2026-01-01T12:00:00.000Z")),
            ("GMT+2", Some("2026-01-01T10:00:00.000Z")),
            ("GMT-0500", Some("2026-01-01T17:00:00.000Z")),
            ("UTC+5:30", Some("2026-01-01T06:30:00.000Z")),
            ("+0100", Some("2026-01-01T11:00:00.000Z")),
            ("AEDT", Some("2026-01-01T01:00:00.000Z")),
            ("Europe/Berlin", Some("2026-01-01T11:00:00.000Z")),
            ("CETX", None),
            ("GMTX", None),
            ("Europe/Nowhere", None),
            ("local", None),
        ] {
            check("%Y-%m-%d %H:%M %Z", &format!("2026-01-01 12:00 {zone}"), expected);
        }
        check("%Y%j", "2026032", Some("2026-02-01T00:00:00.000Z"));
        for unfit in ["%Q", "%H:%M:%S,%f", "%Y", "%Y-%m %H:%M", "%d", "x"] {
            assert!(TimeFormat::compile(unfit).is_err(), "{unfit}");
        }
    }

    #[test]
    fn a_header_names_its_zone_where_its_time_does() {
        let zone = |header: &str| header_zone(header.as_bytes());
        assert_eq!(zone("<14>1 2020-03-27T09:57:29+01:00 fw - - - - "), Zone::parse("+01:00").ok());
        assert_eq!(zone("<14>2020-03-27T09:57:29.5-05:30 fw "), Zone::parse("-05:30").ok());
        assert_eq!(zone("2020-03-27T09:57:29Z fw "), Zone::parse("+00:00").ok());
        assert_eq!(zone("<14>Mar 27 09:57:29 fw "), None);
        assert_eq!(zone("<14>1 2020-03-27T09:57:29 fw - - - - "), None);
        assert_eq!(zone(""), None);
    }

    #[test]
    fn a_missing_year_is_the_latest_that_is_not_far_ahead() {
        let zone = Zone::utc();
        let new_year = 1_798_761_600 * NANOS; // 2027-01-01T00:00:00Z
        let format = TimeFormat::compile("rfc3164").unwrap();
        for (text, received, year) in [
            ("Dec 31 23:59:59", new_year + NANOS, 2026),
            ("Jan  1 00:00:01", new_year - NANOS, 2027),
            ("Jun 15 00:00:00", new_year, 2026),
        ] {
            let context = TimeContext { received_unix_nanos: received, zone: &zone };
            let nanos = format.parse(text.as_bytes(), &context).unwrap();
            assert_eq!(Date::of_days(nanos.div_euclid(86_400 * NANOS)).year, year, "{text}");
        }
    }

    #[test]
    fn zones_shift_and_survive_daylight_saving() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let context = TimeContext { received_unix_nanos: 0, zone: &zone };
        let format = TimeFormat::compile("%Y-%m-%d %H:%M:%S").unwrap();
        let hour =
            |text: &str| format.parse(text.as_bytes(), &context).unwrap() / NANOS / 3600 % 24;
        assert_eq!(hour("2026-01-15 12:00:00"), 11);
        assert_eq!(hour("2026-07-15 12:00:00"), 10);
        assert_eq!(hour("2016-12-31 23:59:60"), 23);
        assert_eq!(hour("2016-12-31 24:00:00"), 23);
        assert!(format.parse(b"2016-12-31 24:00:01", &context).is_none());
        assert!(format.parse(b"2026-03-29 02:30:00", &context).is_some());
        assert!(Zone::parse("Mars/Base").is_err());
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            assert_eq!(Date::of_days(days).days(), days);
        }
    }
}
