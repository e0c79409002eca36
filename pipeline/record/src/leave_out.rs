//! What an event that is too large for Kafka goes without: the largest of the values that stand in its line
//! as well.

use crate::{FIELD_BASE64, FIELD_ORIGINAL};
use serde::de::IgnoredAny;
use serde_json::Deserializer;
use std::ops::Range;

/// Names the fields that an event goes without: their values stand in `event.original` alone.
const FIELD_LEFT_OUT: &str = "logweir.left_out";

/// Members of up to so many bytes stay: what every event has is among them.
const SMALL_BYTES_MAX: usize = 256;

/// Takes members out of those that stand in `out` behind `start` (`"a":1,"b":"…"`), the largest first, until
/// they are at least `bytes` bytes shorter, and adds the names of what was taken out. The line stays.
///
/// Returns `false`, and changes nothing, if it is the line that takes the room.
#[must_use]
pub fn leave_out(out: &mut Vec<u8>, start: usize, bytes: usize) -> bool {
    let text = out.split_off(start);
    let members = members(&text);
    let mut large: Vec<&Member> = members.iter().filter(|member| member.may_go(&text)).collect();
    large.sort_by_key(|member| std::cmp::Reverse(member.whole.len()));
    let mut gone = Vec::new();
    let mut freed = 0;
    let mut note = FIELD_LEFT_OUT.len() + r#","":[]"#.len();
    for member in large {
        if freed >= bytes + note {
            break;
        }
        freed += member.whole.len() + 1;
        note += member.name.len() + 1;
        gone.push(member.whole.start);
    }
    if freed < bytes + note {
        out.extend_from_slice(&text);
        return false;
    }
    let (left, kept): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| gone.contains(&member.whole.start));
    for member in kept {
        out.extend_from_slice(&text[member.whole.clone()]);
        out.push(b',');
    }
    out.extend_from_slice(format!("\"{FIELD_LEFT_OUT}\":").as_bytes());
    for (separator, member) in std::iter::once(b'[').chain(std::iter::repeat(b',')).zip(left) {
        out.push(separator);
        out.extend_from_slice(&text[member.name.clone()]);
    }
    out.push(b']');
    true
}

#[derive(Debug)]
struct Member {
    /// With its quotes.
    name: Range<usize>,
    whole: Range<usize>,
}

impl Member {
    fn may_go(&self, text: &[u8]) -> bool {
        let name = &text[self.name.start + 1..self.name.end - 1];
        self.whole.len() > SMALL_BYTES_MAX
            && name != FIELD_ORIGINAL.as_bytes()
            && name != FIELD_BASE64.as_bytes()
    }
}

/// The members of a text, as far as it is JSON.
fn members(text: &[u8]) -> Vec<Member> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(name_end) = value_end(text, at)
        && let Some(end) = value_end(text, name_end + 1)
    {
        found.push(Member { name: at..name_end, whole: at..end });
        at = end + 1;
    }
    found
}

/// Where the value ends that begins at `at`.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    let mut values = Deserializer::from_slice(text.get(at..)?).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(at + values.byte_offset())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn without(members: &str, bytes: usize) -> (bool, Value) {
        let mut out = [b"{", members.as_bytes()].concat();
        let before = out.len();
        let done = leave_out(&mut out, 1, bytes);
        assert!(!done || out.len() + bytes <= before, "{} of {before}", out.len());
        assert!(done || out.len() == before);
        out.push(b'}');
        (done, serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn the_largest_values_go_until_it_fits_and_the_line_stays() {
        let long = |len: usize| "\\u0001".repeat(len / 6);
        let (line, more, most) = (long(3_000), long(1_200), long(1_800));
        let members = format!(
            r#""@timestamp":"t","source.port":22,"a\"b":["{more}",{{"x":[]}}],"user.name":"{most}","event.original":"{line}","ecs.version":"9""#
        );
        let (done, event) = without(&members, 1);
        assert!(done);
        assert_eq!(event["logweir.left_out"], serde_json::json!(["user.name"]));
        assert_eq!(event.as_object().unwrap().len(), 6, "{event}");
        assert_eq!(event["event.original"].as_str().unwrap().len(), 500);

        let (done, event) = without(&members, 2_000);
        assert!(done);
        assert_eq!(event["logweir.left_out"], serde_json::json!(["a\"b", "user.name"]));
        assert_eq!(event["source.port"], 22);

        let (done, event) = without(&members, 4_000);
        assert!(!done && event.as_object().unwrap().len() == 6, "{event}");
    }
}
