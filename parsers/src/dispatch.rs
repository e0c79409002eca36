//! Which packs a line belongs to, without trying all of them.

use crate::matcher::glob;
use crate::rule::Pack;
use rustc_hash::FxHashMap;

/// The indexes over the packs' `applies`; positions are the packs' numbers, by descending priority.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    programs: FxHashMap<Vec<u8>, Vec<u32>>,
    program_globs: Vec<(Vec<u8>, u32)>,
    /// By first byte: (literal, pack).
    starts: Vec<Vec<(Vec<u8>, u32)>>,
    json: Vec<u32>,
    contains: Vec<u32>,
    signatures: Vec<u32>,
    syslog: Vec<u32>,
}

impl Dispatch {
    pub(crate) fn new(packs: &[Pack]) -> Self {
        let mut order: Vec<usize> = (0..packs.len()).collect();
        order.sort_by_key(|number| std::cmp::Reverse(packs[*number].priority));
        let mut dispatch = Self { starts: vec![Vec::new(); 256], ..Self::default() };
        for number in order {
            dispatch.add(number as u32, &packs[number]);
        }
        dispatch
    }

    fn add(&mut self, number: u32, pack: &Pack) {
        let applies = &pack.applies;
        for program in &applies.programs {
            let program = program.as_bytes().to_vec();
            if program.contains(&b'*') || program.contains(&b'?') {
                self.program_globs.push((program, number));
            } else {
                self.programs.entry(program).or_default().push(number);
            }
        }
        for literal in applies.starts.iter().filter(|literal| !literal.is_empty()) {
            self.starts[usize::from(literal[0])].push((literal.clone(), number));
        }
        let lists = [
            (!applies.json_keys.is_empty(), &mut self.json),
            (!applies.contains.is_empty(), &mut self.contains),
            (applies.signature.is_some(), &mut self.signatures),
            (applies.syslog, &mut self.syslog),
        ];
        for (_, list) in lists.into_iter().filter(|(wanted, _)| *wanted) {
            list.push(number);
        }
    }

    /// Calls `visit` with the packs that fit, in the order in which they are tried, until it returns
    /// `true`. A pack may be named twice. Those for any syslog line are not among them.
    pub(crate) fn visit(
        &self,
        packs: &[Pack],
        program: Option<&[u8]>,
        message: &[u8],
        mut visit: impl FnMut(usize) -> bool,
    ) {
        let mut pack = |number: &u32| visit(*number as usize);
        if let Some(program) = program {
            if self.programs.get(program).is_some_and(|list| list.iter().any(&mut pack)) {
                return;
            }
            let fits = |(pattern, _): &&(Vec<u8>, u32)| glob(pattern, program);
            if self.program_globs.iter().filter(fits).any(|(_, number)| pack(number)) {
                return;
            }
        }
        let text = message.trim_ascii_start();
        if let Some(first) = text.first() {
            let starts = &self.starts[usize::from(*first)];
            if starts.iter().any(|(literal, number)| text.starts_with(literal) && pack(number)) {
                return;
            }
        }
        if text.first() == Some(&b'{') {
            let holds = |number: &&u32| {
                let keys = &packs[**number as usize].applies.json_keys;
                keys.iter().all(|key| key.find(text).is_some())
            };
            if self.json.iter().filter(holds).any(&mut pack) {
                return;
            }
        }
        let contains = |number: &&u32| {
            packs[**number as usize].applies.contains.iter().any(|part| part.find(message).is_some())
        };
        if self.contains.iter().filter(contains).any(&mut pack) {
            return;
        }
        let signed = |number: &&u32| {
            packs[**number as usize].applies.signature.as_ref().is_some_and(|signature| {
                signature.required.as_ref().is_none_or(|part| part.find(message).is_some())
                    && signature.regex.is_match(message)
            })
        };
        let _ = self.signatures.iter().filter(signed).any(&mut pack);
    }

    /// The packs for any line that has a syslog header.
    pub(crate) fn syslog(&self) -> &[u32] {
        &self.syslog
    }
}
