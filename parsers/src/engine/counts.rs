//! How often each rule was tried and what came of it.
//!
//! Every parser counts for itself, so counting is an addition; whoever has several parsers takes the
//! counts of each from time to time.

/// What happened with one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Lines, or parts of them, that the rule looked at.
    pub tried: u64,
    /// Of these, those that it matched.
    pub matched: u64,
    /// Of these, those for which its pattern needed more steps than a text of that length has, so
    /// that the slower engine had to be asked.
    pub over_budget: u64,
}

impl RuleCounts {
    /// Adds what another parser has counted.
    pub fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.matched += other.matched;
        self.over_budget += other.over_budget;
    }
}

/// The counts of all rules since they were taken last.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rules: Vec<RuleCounts>,
    /// The rules whose counts are not zero.
    touched: Vec<u32>,
}

impl Counts {
    pub(super) fn new(rules: usize) -> Self {
        Self { rules: vec![RuleCounts::default(); rules], touched: Vec::with_capacity(rules) }
    }

    #[inline]
    pub(super) fn count(&mut self, rule: usize, matched: bool, over_budget: bool) {
        let counts = &mut self.rules[rule];
        if counts.tried == 0 {
            self.touched.push(rule as u32);
        }
        counts.tried += 1;
        counts.matched += u64::from(matched);
        counts.over_budget += u64::from(over_budget);
    }

    pub(super) fn take(&mut self, mut visit: impl FnMut(usize, RuleCounts)) {
        for rule in self.touched.drain(..) {
            let rule = rule as usize;
            visit(rule, std::mem::take(&mut self.rules[rule]));
        }
    }
}
