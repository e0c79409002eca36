//! Which packs a line belongs to, without trying all of them.

use crate::index::{LiteralIndex, Need};
use crate::matcher::glob;
use crate::rule::Pack;
use crate::span::Scratch;
use rustc_hash::FxHashMap;

/// The indexes over the packs' `applies`; packs stand in them by descending priority.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    programs: FxHashMap<Vec<u8>, Vec<u32>>,
    program_globs: Vec<(Vec<u8>, u32)>,
    /// By first byte: (literal, pack).
    starts: Vec<Vec<(Vec<u8>, u32)>>,
    /// What is looked for in the message: first `json_keys`, then `contains`, then `signature`.
    probes: Vec<Probe>,
    probes_by_literal: LiteralIndex,
    syslog: Vec<u32>,
}

/// A pack that a message belongs to if it has what the pack's `applies` says.
#[derive(Debug, Clone, Copy)]
struct Probe {
    pack: u32,
    kind: ProbeKind,
}

#[derive(Debug, Clone, Copy)]
enum ProbeKind {
    JsonKeys,
    Contains,
    Signature,
}

impl Dispatch {
    pub(crate) fn new(packs: &[Pack]) -> Self {
        let mut order: Vec<u32> = (0..packs.len() as u32).collect();
        order.sort_by_key(|number| std::cmp::Reverse(packs[*number as usize].priority));
        let mut dispatch = Self { starts: vec![Vec::new(); 256], ..Self::default() };
        for number in &order {
            dispatch.add(*number, &packs[*number as usize]);
        }
        let mut needs = Vec::new();
        for kind in [ProbeKind::JsonKeys, ProbeKind::Contains, ProbeKind::Signature] {
            for pack in &order {
                if let Some(need) = kind.need(&packs[*pack as usize]) {
                    dispatch.probes.push(Probe { pack: *pack, kind });
                    needs.push(need);
                }
            }
        }
        dispatch.probes_by_literal = LiteralIndex::new(&needs);
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
        if applies.syslog {
            self.syslog.push(number);
        }
    }

    /// Calls `visit` with the packs that fit, in the order in which they are tried, until it returns
    /// `true`. A pack may be named twice. Those for any syslog line are not among them. `found` and
    /// `scratch` are working space.
    pub(crate) fn visit(
        &self,
        packs: &[Pack],
        program: Option<&[u8]>,
        message: &[u8],
        (found, scratch): (&mut Vec<u32>, &mut Scratch),
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
        self.probes_by_literal.visit(message, found, |at| {
            let probe = self.probes[at as usize];
            probe.kind.fits(&packs[probe.pack as usize], message, scratch) && pack(&probe.pack)
        });
    }

    /// The packs for any line that has a syslog header.
    pub(crate) fn syslog(&self) -> &[u32] {
        &self.syslog
    }
}

impl ProbeKind {
    /// What a message that fits must hold; `None` if the pack does not say anything of this kind.
    fn need(self, pack: &Pack) -> Option<Need> {
        let applies = &pack.applies;
        match self {
            Self::JsonKeys => {
                let longest = applies.json_keys.iter().max_by_key(|key| key.needle().len())?;
                Some(Need::holding(&[longest.needle()]))
            }
            Self::Contains => {
                let literals: Vec<&[u8]> =
                    applies.contains.iter().map(|part| part.needle()).collect();
                (!literals.is_empty()).then(|| Need::holding(&literals))
            }
            Self::Signature => {
                applies.signature.as_ref().map(|signature| signature.pattern.need.clone())
            }
        }
    }

    fn fits(self, pack: &Pack, message: &[u8], scratch: &mut Scratch) -> bool {
        let applies = &pack.applies;
        match self {
            Self::JsonKeys => {
                message.trim_ascii_start().starts_with(b"{")
                    && applies.json_keys.iter().all(|key| key.find(message).is_some())
            }
            Self::Contains => applies.contains.iter().any(|part| part.find(message).is_some()),
            Self::Signature => applies
                .signature
                .as_ref()
                .is_some_and(|signature| signature.pattern.is_match(message, scratch)),
        }
    }
}
