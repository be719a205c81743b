//! What one run of a loss is told: how its rows are mapped to invocations, how its tensors are stored, what it computes.

use deeploss::{AdapterFacts, Error, RowStrategy, Want};

use crate::storage::Storage;

/// Who decides how rows are mapped to invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The crate's plan.
    Plan,
    Thread,
    Tile {
        rows: u32,
    },
    Subgroup,
    Workgroup,
    Kept {
        lanes: u32,
    },
    Split {
        parts: u32,
    },
}

impl Choice {
    pub(crate) fn named(text: &str) -> Result<Self, String> {
        let number = |prefix| text.strip_prefix(prefix).and_then(|number: &str| number.parse().ok());
        let plain = match text {
            "plan" => Some(Self::Plan),
            "thread" => Some(Self::Thread),
            "subgroup" => Some(Self::Subgroup),
            "workgroup" => Some(Self::Workgroup),
            _ => None,
        };
        plain
            .or_else(|| Some(Self::Tile { rows: number("tile:")? }))
            .or_else(|| Some(Self::Kept { lanes: number("kept:")? }))
            .or_else(|| Some(Self::Split { parts: number("split:")? }))
            .ok_or_else(|| {
                let known = "plan, thread, tile:ROWS, subgroup, workgroup, kept:LANES or split:PARTS";
                format!("a strategy is {known}, got `{text}`")
            })
    }

    /// What the plan takes for long rows of a full batch.
    pub(crate) fn unsplit(facts: &AdapterFacts) -> Self {
        if facts.is_cpu && facts.subgroup.is_some_and(|(min, max)| min == max) {
            Self::Subgroup
        } else {
            Self::Workgroup
        }
    }

    /// The strategy to force; `None` leaves it to the plan.
    pub(crate) fn strategy(self, facts: &AdapterFacts) -> Result<Option<RowStrategy>, Error> {
        let subgroup = || {
            facts.subgroup.map(|(lanes, _)| lanes).ok_or_else(|| Error::Unsupported {
                what: "a subgroup per row".into(),
                why: "this adapter has no subgroups".into(),
                instead: "leave the choice to the plan",
            })
        };
        let most = 256.min(facts.max_invocations);
        Ok(match self {
            Self::Plan => None,
            Self::Thread => Some(RowStrategy::Thread),
            Self::Tile { rows } => Some(RowStrategy::Tile { rows }),
            Self::Subgroup => Some(RowStrategy::Subgroup { lanes: subgroup()? }),
            Self::Workgroup => Some(RowStrategy::Workgroup { lanes: most }),
            Self::Kept { lanes } => Some(RowStrategy::Kept { lanes }),
            // As the plan does: by barriers only where they are cheap.
            Self::Split { parts } => {
                let lanes = if facts.is_cpu { subgroup()? } else { most };
                Some(RowStrategy::Split { lanes, parts })
            }
        })
    }
}

/// How one loss of a block runs.
pub(crate) type Way = (Storage, Choice);

pub(crate) const MODES: [&str; 3] = ["loss", "grad", "both"];

pub(crate) fn want(mode: &str) -> Want {
    match mode {
        "loss" => Want::LOSS,
        "grad" => Want::GRAD,
        _ => Want::LOSS | Want::GRAD,
    }
}

/// `Subgroup { lanes: 8 }` as `subgroup 8`.
pub(crate) fn short(strategy: RowStrategy) -> String {
    let text = format!("{strategy:?}").to_lowercase().replace("lanes:", "");
    text.replace(['{', '}', ',', ':'], "").split_whitespace().collect::<Vec<_>>().join(" ")
}
