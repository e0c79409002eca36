//! Any bytes have a header, and what it is made of stands in the line; nothing behind it is cut off.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir_parsers::Zone;
use logweir_parsers::header;
use logweir_parsers::time::TimeContext;

fuzz_target!(|line: &[u8]| {
    let zone = Zone::utc();
    let context = TimeContext { received_unix_nanos: 1_795_867_200_000_000_000, zone: &zone };
    let header = header::parse(line, &context);
    assert!(line.ends_with(header.message));
    assert!(header.priority.is_none_or(|priority| priority <= 191));
    let range = line.as_ptr_range();
    let parts =
        [header.hostname, header.program, header.pid, header.message_id, header.structured_data];
    for part in parts.into_iter().flatten() {
        let part = part.as_ptr_range();
        assert!(range.start <= part.start && part.end <= range.end);
    }
});
