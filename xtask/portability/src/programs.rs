//! What is compiled: modules, entry points and constants of all plans, or some of them that stand for all.

use std::collections::HashSet;
use std::sync::Arc;

use deeploss::LossInfo;
use deeploss::internals::{Binding, Kernel};
use deeploss_wgsl::all::{self, Module};

/// A module, an entry point and values of the constants: what a driver compiles at once.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The loss it belongs to; [`SUMS`] for what all losses share.
    pub(crate) loss: &'static str,
    pub(crate) module: Arc<Module>,
    pub(crate) entry: &'static str,
    pub(crate) constants: Vec<(&'static str, u32)>,
    pub(crate) bindings: Arc<Vec<Binding>>,
    pub(crate) uniform_bytes: usize,
    /// A call that runs it, for messages.
    pub(crate) call: String,
}

/// In place of a loss: kernels that follow a loss' own.
pub(crate) const SUMS: &str = "sums";

/// How many of the programs are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Of the next level the fewest, found greedily, in which every loss meets each of its files and each of its constants,
    /// set and not set.
    Sample,
    /// The entry points of the modules of a part of all plans, each once, with as many constants set as there are.
    Entries,
    /// Tens of thousands of modules.
    All,
}

/// Levels by name.
pub(crate) const LEVELS: &[(&str, Level)] =
    &[("sample", Level::Sample), ("entries", Level::Entries), ("all", Level::All)];

/// What a device must have for a program; what a target has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    pub(crate) subgroups: bool,
    pub(crate) int64: bool,
    pub(crate) invocations: u32,
    pub(crate) storage_buffers: u32,
}

impl Abilities {
    /// Everything that any device of the plans has.
    pub(crate) const ALL: Self = Self { subgroups: true, int64: true, invocations: 1024, storage_buffers: 16 };

    /// Whether this is enough for what is needed.
    pub(crate) fn suffice_for(&self, needed: &Self) -> bool {
        (self.subgroups || !needed.subgroups)
            && (self.int64 || !needed.int64)
            && self.invocations >= needed.invocations
            && self.storage_buffers >= needed.storage_buffers
    }
}

impl Program {
    pub(crate) fn needs(&self) -> Abilities {
        let has = |part: &str| self.module.parts.iter().any(|known| known.name == part);
        let workgroup = self.constants.iter().find(|(name, _)| *name == "WORKGROUP").map_or(256, |&(_, value)| value);
        Abilities {
            subgroups: has("group/shuffles.wgsl"),
            int64: has("io/words/64.wgsl"),
            invocations: workgroup,
            storage_buffers: self.bindings.len() as u32,
        }
    }

    /// The module as a browser takes it.
    pub(crate) fn web_text(&self) -> String {
        let enable = if self.needs().subgroups { "enable subgroups;\n" } else { "" };
        format!("{enable}{}", self.module.text)
    }

    /// `bce.items-85944171f73967e8 items {LANES: 8}`: which one it is.
    pub(crate) fn describe(&self) -> String {
        let constants: Vec<String> = self.constants.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{} {} {{{}}} of {}", self.module.name, self.entry, constants.join(", "), self.call)
    }

    fn numbers_set(&self) -> usize {
        self.constants.iter().filter(|(_, value)| *value != 0).count()
    }

    /// What a sample must have met with this loss.
    fn features(&self) -> impl Iterator<Item = String> {
        const NUMBERS: &[&str] = &["LANES", "WORKGROUP", "SHUFFLED", "RANK", "TILE", "CLASSES", "HELD", "IN_FLIGHT"];
        let parts = self.module.parts.iter().map(|part| part.name.to_owned());
        let constants = self.constants.iter().filter(|(name, _)| !NUMBERS.contains(name));
        parts.chain(constants.map(|(name, value)| format!("{name}={value}"))).chain([self.entry.to_owned()])
    }
}

/// A program that every target must refuse, so that a matrix without a fault says something: its workgroup is larger than any, and for
/// Metal, where that shows only on a device, it calls a function that the header in place of Apple's does not have.
pub(crate) fn broken() -> Program {
    let text = "@group(0) @binding(1) var<storage, read_write> out: array<f32>;\n\
                @compute @workgroup_size(4096)\n\
                fn broken(@builtin(local_invocation_index) k: u32) { out[k] = sinh(f32(k)); }\n";
    Program {
        loss: SUMS,
        module: Arc::new(Module { name: "broken".into(), text: text.into(), parts: Vec::new(), programs: Vec::new() }),
        entry: "broken",
        constants: Vec::new(),
        bindings: Arc::new(vec![Binding { slot: 1, name: "out", written: true, stride: 4 }]),
        uniform_bytes: 16,
        call: "nothing".into(),
    }
}

/// The programs of these losses, those of [`Level::All`] or the part of them that the other levels choose from.
pub(crate) fn collect(losses: &[&'static LossInfo], level: Level) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    // Of 154 pairs of device and strategy each call is planned for five.
    let every = if level == Level::All { 1 } else { 31 };
    for module in all::collect(losses, false, every)? {
        let module = Arc::new(module);
        let bindings = Arc::new(module.programs.first().map_or_else(Vec::new, |program| program.kernel.bindings()));
        for all::Program { kernel, uniform_bytes, call } in &module.programs {
            let own = matches!(kernel, Kernel::Rows(_) | Kernel::Items(_));
            programs.push(Program {
                loss: if own { call.loss } else { SUMS },
                module: module.clone(),
                entry: kernel.entry(),
                constants: kernel.constants(),
                bindings: bindings.clone(),
                uniform_bytes: *uniform_bytes,
                // The options hold every weight.
                call: format!("{:.200} {}, {}, {}", call.options, call.shape, call.strategy, call.facts),
            });
        }
    }
    Ok(programs)
}

/// Those that a target is given, by loss; sums come last.
pub(crate) fn choose<'p>(programs: &'p [Program], level: Level, abilities: &Abilities) -> Vec<&'p Program> {
    let possible = programs.iter().filter(|program| abilities.suffice_for(&program.needs()));
    let mut by_loss: Vec<(&str, Vec<&Program>)> = Vec::new();
    for program in possible {
        match by_loss.iter_mut().find(|(loss, _)| *loss == program.loss) {
            Some((_, own)) => own.push(program),
            None => by_loss.push((program.loss, vec![program])),
        }
    }
    by_loss.sort_by_key(|(loss, _)| *loss == SUMS);
    let of_loss = |(_, own)| match level {
        Level::All => own,
        Level::Entries => entries(own),
        Level::Sample => sample(own),
    };
    by_loss.into_iter().flat_map(of_loss).collect()
}

/// Of each module and entry point the program that has most set.
fn entries(programs: Vec<&Program>) -> Vec<&Program> {
    let mut sorted = programs;
    sorted.sort_by_key(|program| std::cmp::Reverse(program.numbers_set()));
    let mut met = HashSet::new();
    sorted.retain(|program| met.insert((&*program.module.name, program.entry)));
    sorted
}

/// The program that has most of what is missing yet, again and again; of several the longest.
fn sample(programs: Vec<&Program>) -> Vec<&Program> {
    let mut left: Vec<(HashSet<String>, &Program)> =
        programs.into_iter().map(|program| (program.features().collect(), program)).collect();
    let mut chosen = Vec::new();
    while let Some((place, _)) =
        left.iter().enumerate().max_by_key(|(_, (missing, program))| (missing.len(), program.module.text.len()))
    {
        let (met, program) = left.swap_remove(place);
        chosen.push(program);
        left.retain_mut(|(missing, _)| {
            missing.retain(|feature| !met.contains(feature));
            !missing.is_empty()
        });
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use deeploss::LOSSES;

    use super::{Abilities, Level, Program, SUMS, choose, collect};

    /// Every loss is there, with every file and both values of every constant that its own programs have.
    #[test]
    fn the_sample_stands_for_all_entries() {
        let losses: Vec<_> = LOSSES.iter().collect();
        let programs = collect(&losses, Level::Sample).unwrap();
        let of = |level| choose(&programs, level, &Abilities::ALL);
        let features = |programs: &[&Program]| -> HashSet<(&str, String)> {
            programs.iter().flat_map(|program| program.features().map(|feature| (program.loss, feature))).collect()
        };
        let (sample, entries) = (of(Level::Sample), of(Level::Entries));
        assert!(sample.len() * 4 < entries.len(), "{} of {}", sample.len(), entries.len());
        let missing: Vec<_> = features(&entries).difference(&features(&sample)).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
        for name in losses.iter().map(|info| info.name).chain([SUMS]) {
            assert!(sample.iter().any(|program| program.loss == name), "{name}");
        }
    }

    #[test]
    fn what_a_target_lacks_is_not_given_to_it() {
        let needed = Abilities { subgroups: true, ..Abilities::ALL };
        assert!(Abilities::ALL.suffice_for(&needed));
        assert!(!Abilities { subgroups: false, ..Abilities::ALL }.suffice_for(&needed));
        assert!(!Abilities { invocations: 256, ..Abilities::ALL }.suffice_for(&needed));
    }
}
