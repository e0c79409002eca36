//! Dates as they are written without a norm: `28/11/2026`, `11-28-26`, `2026.11.28`, `28 Nov 2026`, with a
//! time of day behind them or not. Which number is the day is told by one that no month has.

use super::scan::{Kind, is_month};

/// What a date looks like, whatever its order.
pub(super) const DATE: &str = r"\d{1,4}[-/. ]\w{1,3}[-/. ]\d{1,4}";
/// The same with a time of day.
pub(super) const DATE_TIME: &str = r"\d{1,4}[-/. ]\w{1,3}[-/. ]\d{1,4},?[ T:]\d{1,2}[:.]\d\d[:.]\d\d(?:[.,]\d+)?(?: ?[AP]M)?(?: ?[+-]\d\d:?\d\d)?";

/// The date at the start of `text`, by its order if a time of day belongs to it, and its length.
pub(super) fn date(text: &str) -> Option<(Kind, usize)> {
    let (order, length) = order(text)?;
    let clock = text[length..].strip_prefix(',').unwrap_or(&text[length..]);
    if let Some(clock) = clock.strip_prefix([' ', 'T', ':'])
        && let Some(clock) = clock_length(clock).map(|end| &clock[end..])
        && ends(clock)
    {
        return Some((order, text.len() - clock.len()));
    }
    ends(&text[length..]).then_some((Kind::Date, length))
}

/// The format of a date with a time of day, if its numbers stand in this order.
pub(super) fn format(order: Kind, text: &str) -> String {
    let [first, second, third] = match order {
        Kind::YearFirst => ["%Y", "%m", "%d"],
        Kind::MonthFirst => ["%m", "%d", "%Y"],
        _ => ["%d", "%m", "%Y"],
    };
    let mut parts = [first, second, third, "%H", "%M", "%S"].into_iter();
    let half = text.ends_with(['M', 'm']);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let like_first = |c: char| match first {
            '0'..='9' => c.is_ascii_digit(),
            _ => c.is_ascii_alphabetic(),
        };
        let word = &rest[..rest.find(|c| !like_first(c)).unwrap_or(rest.len())];
        match (parts.len(), word) {
            (_, "" | "T") => out.push(first),
            (_, "AM" | "PM") => out.push_str("%p"),
            // What follows the seconds is their fraction, or a zone with its sign.
            (0, _) if out.ends_with("%S.") || out.ends_with("%S,") => out.push_str("%f"),
            (0, _) => {}
            _ => match parts.next() {
                Some("%m") if first.is_ascii_alphabetic() => out.push_str("%b"),
                Some("%Y") if word.len() == 2 => out.push_str("%y"),
                Some("%H") if half => out.push_str("%I"),
                part => out.push_str(part.unwrap_or_default()),
            },
        }
        rest = &rest[word.len().max(first.len_utf8())..];
        if parts.len() == 0 && rest.trim_start().starts_with(['+', '-']) {
            out.push_str(if rest.starts_with(' ') { " %z" } else { "%z" });
            break;
        }
    }
    out
}

/// The order of a date without what follows it, and its length.
fn order(text: &str) -> Option<(Kind, usize)> {
    let first = digits(text, 4)?;
    let sign = text[first.len()..].chars().next().filter(|c| "-/. ".contains(*c))?;
    let rest = &text[first.len() + 1..];
    let second = &rest[..rest.find(sign).filter(|end| (1..=3).contains(end))?];
    let third = digits(&rest[second.len() + 1..], 4)?;
    let length = first.len() + second.len() + third.len() + 2;
    let number = |text: &str| text.parse::<u32>().ok();
    let is_day = |text: &str| number(text).is_some_and(|n| (1..=31).contains(&n));
    let may_be_month = |text: &str| number(text).is_some_and(|n| (1..=12).contains(&n));
    let is_year =
        |text: &str| text.len() == 4 && (text.starts_with("19") || text.starts_with("20"));
    let named = is_month(second.as_bytes());
    if !named && sign == ' ' {
        return None;
    }
    if is_year(first) {
        let fits = (named || may_be_month(second)) && third.len() < 3 && is_day(third);
        return fits.then_some((Kind::YearFirst, length));
    }
    let short = third.len() == 2 && sign != '.';
    if !is_day(first) || !(is_year(third) || short) {
        return None;
    }
    let order = match (may_be_month(first), may_be_month(second)) {
        _ if named => Kind::DayFirst,
        // With dots nobody writes the month first.
        (_, true) if sign == '.' => Kind::DayFirst,
        (true, true) => Kind::EitherFirst,
        (false, true) => Kind::DayFirst,
        (true, false) if is_day(second) => Kind::MonthFirst,
        _ => return None,
    };
    Some((order, length))
}

fn digits(text: &str, most: usize) -> Option<&str> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=most).contains(&length).then(|| &text[..length])
}

/// `10:15:02`, `9.15.02`, with a fraction, a half of the day and a zone, or not.
fn clock_length(text: &str) -> Option<usize> {
    let hour = digits(text, 2)?.len();
    let bytes = text.as_bytes();
    let sign = *bytes.get(hour).filter(|sign| matches!(sign, b':' | b'.'))?;
    let two =
        |at: usize| bytes.get(at..at + 2).is_some_and(|two| two.iter().all(u8::is_ascii_digit));
    if !two(hour + 1) || bytes.get(hour + 3) != Some(&sign) || !two(hour + 4) {
        return None;
    }
    let mut end = hour + 6;
    if let Some(b'.' | b',') = bytes.get(end) {
        let fraction = text[end + 1..].bytes().take_while(u8::is_ascii_digit).count();
        end += if fraction > 0 { 1 + fraction } else { 0 };
    }
    let blank = |end: usize| usize::from(bytes.get(end) == Some(&b' '));
    if matches!(text.get(end + blank(end)..).and_then(|rest| rest.get(..2)), Some("AM" | "PM")) {
        end += blank(end) + 2;
    }
    let zone = end + blank(end);
    if matches!(bytes.get(zone), Some(b'+' | b'-')) && two(zone + 1) {
        let colon = usize::from(bytes.get(zone + 3) == Some(&b':'));
        end = if two(zone + 3 + colon) { zone + 5 + colon } else { end };
    }
    Some(end)
}

/// Whether a date or time ends in front of `rest`.
fn ends(rest: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        Some('-' | '/' | '.' | ':') => !chars.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric() && c != '_',
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_by_their_parts_and_have_formats() {
        for (text, kind, format_expected) in [
            ("28/11/2026 10:15:02", Kind::DayFirst, "%d/%m/%Y %H:%M:%S"),
            ("11/28/26 9:15:02 AM", Kind::MonthFirst, "%m/%d/%y %I:%M:%S %p"),
            ("05-11-2026 10:15:02,123", Kind::EitherFirst, "%d-%m-%Y %H:%M:%S,%f"),
            ("2026-11-28 10.15.02.5", Kind::YearFirst, "%Y-%m-%d %H.%M.%S.%f"),
            ("2026.11.28T10:15:02+01:00", Kind::YearFirst, "%Y.%m.%dT%H:%M:%S%z"),
            ("28-Nov-2026 10:15:02 +0100", Kind::DayFirst, "%d-%b-%Y %H:%M:%S %z"),
            ("28/Nov/2026:10:15:02", Kind::DayFirst, "%d/%b/%Y:%H:%M:%S"),
            ("8 Nov 2026, 10:15:02", Kind::DayFirst, "%d %b %Y, %H:%M:%S"),
            ("05.11.2026 10:15:02", Kind::DayFirst, "%d.%m.%Y %H:%M:%S"),
            ("28.11.2026", Kind::Date, ""),
            ("28/11/2026 10", Kind::Date, ""),
        ] {
            let (found, length) = date(text).expect(text);
            assert_eq!(found, kind, "{text}");
            if kind == Kind::Date {
                assert_eq!(length, 10, "{text}");
                continue;
            }
            assert_eq!(length, text.len(), "{text}");
            assert_eq!(format(kind, text), format_expected);
            let whole = regex::Regex::new(&format!("^(?:{DATE_TIME})$")).unwrap();
            assert!(whole.is_match(text), "{text}");
            assert!(crate::time::TimeFormat::compile(format_expected).is_ok(), "{text}");
        }
        for text in [
            "1.2.34",
            "10.0.22.7",
            "99/11/2026",
            "13/13/2026",
            "2026/11/28/x",
            "5 6 2026",
            "1-2-2026x",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
