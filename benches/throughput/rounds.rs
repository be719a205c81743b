//! How often something was timed.

use std::fmt;

/// Rounds that count, and spoiled ones that were thrown away and repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) kept: usize,
    pub(crate) spoiled: usize,
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rounds", self.kept)?;
        if self.spoiled > 0 { write!(f, ", {} spoiled and repeated", self.spoiled) } else { Ok(()) }
    }
}
