//! From a variant to the files of its module: the only place that answers "what is linked?". One match per folder below `shaders/`,
//! in link order.

use super::variant::{
    Batch, ClassWeight, CountLabelsVariant, Driver, Exp, Group, ItemLosses, ItemVariant, Kernel, Purpose,
    ReduceVariant, Reported, RowVariant, Second, Source, Stored, SumToShapeVariant, TargetAccess, Width, Words,
};
use super::{Part, part};

impl Kernel {
    /// The files of the module, in link order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        match self {
            Self::Rows(variant) => rows(variant),
            Self::CountLabels(variant) => count_labels(*variant),
            Self::CopyInput => copy_input(),
            Self::Items(variant) => items(variant),
            Self::Reduce(variant) => reduce(*variant),
            Self::SumToShape(variant) => sum_to_shape(*variant),
        }
    }
}

fn rows(variant: &RowVariant) -> Vec<Part> {
    // The loss first: its line numbers are those of the module.
    let mut parts = vec![variant.loss, part!("rows/template.wgsl")];
    // driver/
    parts.push(match variant.driver {
        Driver::Whole { .. } => part!("rows/driver/whole.wgsl"),
        Driver::Tile { .. } => part!("rows/driver/tile.wgsl"),
        Driver::Staged { .. } => part!("rows/driver/staged.wgsl"),
        Driver::Split { .. } if variant.in_place => part!("rows/driver/split_in_place.wgsl"),
        Driver::Split { .. } => part!("rows/driver/split.wgsl"),
    });
    let split = matches!(variant.driver, Driver::Split { .. });
    parts.push(if split { part!("rows/found/by_parts.wgsl") } else { part!("rows/found/by_all.wgsl") });
    if split {
        parts.push(part!("rows/parts.wgsl"));
    }
    if let Some(held) = variant.driver.held() {
        // As few variables as do: compilers read them all.
        parts.extend([part!("rows/row.wgsl"), part!("rows/held_pair.wgsl")]);
        let waits = variant.in_place && variant.group.lanes() > 1;
        parts.push(if waits { part!("rows/order/reads_first.wgsl") } else { part!("rows/order/any.wgsl") });
        let careful = variant.careful || held.pairs == 0;
        parts.push(if careful { part!("rows/care/always.wgsl") } else { part!("rows/care/where_needed.wgsl") });
        parts.push(match held.pairs {
            0 => part!("rows/held/none.wgsl"),
            1..=2 => part!("rows/held/two.wgsl"),
            3..=4 => part!("rows/held/four.wgsl"),
            _ => part!("rows/held/eight.wgsl"),
        });
    }
    parts.extend([part!("rows/walk.wgsl"), part!("rows/pairs.wgsl")]);
    // lanes/
    parts.push(match (variant.driver, variant.width) {
        (Driver::Tile { .. }, _) => part!("rows/lanes/tile.wgsl"),
        (Driver::Staged { .. }, _) => part!("rows/lanes/staged.wgsl"),
        (_, Width::One) => part!("rows/lanes/strided.wgsl"),
        (_, Width::Two) => part!("rows/lanes/words.wgsl"),
        (_, Width::Four) => part!("rows/lanes/interleaved.wgsl"),
        (_, Width::Eight) => part!("rows/lanes/adjacent.wgsl"),
    });
    parts.extend(input(variant.input, variant.grad_input, variant.in_place, variant.width));
    parts.extend(group(variant.group));
    // A loss that looks first, or has a second pass, supplies that itself.
    if !variant.peak {
        parts.push(part!("rows/peak/none.wgsl"));
    }
    if !variant.second_pass {
        parts.push(part!("rows/second_pass/none.wgsl"));
    }
    parts.extend(own_weight(variant.sample_weight, variant.mask));
    parts.push(if variant.stats { part!("rows/stats/bound.wgsl") } else { part!("rows/stats/none.wgsl") });
    parts.push(if variant.grad_output {
        part!("rows/grad_output/bound.wgsl")
    } else {
        part!("rows/grad_output/none.wgsl")
    });
    parts.push(target(variant.target));
    parts.push(match variant.grad_target {
        None => part!("rows/grad_target/none.wgsl"),
        Some(Width::One | Width::Two) => part!("rows/grad_target/one.wgsl"),
        Some(Width::Four | Width::Eight) => part!("rows/grad_target/four.wgsl"),
    });
    parts.push(class_weight(variant.class_weight));
    if variant.lists {
        parts.push(part!("lib/label_lists.wgsl"));
    }
    // batch/
    match variant.batch {
        Batch::Fixed => parts.push(part!("rows/batch/fixed.wgsl")),
        Batch::Counted => parts.push(part!("rows/batch/counted.wgsl")),
        Batch::Within { sums_loss, .. } => parts.extend([
            part!("rows/batch/within.wgsl"),
            if sums_loss { part!("reduce/result/loss.wgsl") } else { part!("reduce/result/status.wgsl") },
            part!("lib/counts.wgsl"),
            part!("lib/totals.wgsl"),
            part!("lib/partial_sum.wgsl"),
        ]),
    }
    parts.extend([part!("lib/labels.wgsl"), part!("lib/softmax.wgsl"), part!("lib/sums.wgsl"), part!("lib/ieee.wgsl")]);
    parts.extend(base(variant.words, variant.exp));
    parts
}

fn count_labels(variant: CountLabelsVariant) -> Vec<Part> {
    let mut parts = vec![part!("rows/count_labels.wgsl"), target(TargetAccess::Values(variant.width))];
    parts.extend([part!("lib/label_lists.wgsl"), part!("lib/labels.wgsl")]);
    parts.extend(base(variant.words, Exp::Careful));
    parts
}

fn copy_input() -> Vec<Part> {
    let mut parts = vec![part!("rows/copy_input.wgsl")];
    parts.extend(base(Words::W32, Exp::Careful));
    parts
}

fn items(variant: &ItemVariant) -> Vec<Part> {
    let mut parts = vec![variant.loss, part!("items/template.wgsl")];
    parts.push(match variant.width {
        Width::One | Width::Two => part!("items/io/one.wgsl"),
        Width::Four => part!("items/io/four.wgsl"),
        Width::Eight => part!("items/io/eight.wgsl"),
    });
    parts.extend(input(variant.input, variant.grad_input, variant.in_place, variant.width));
    parts.push(if variant.in_place { part!("items/order/reads_first.wgsl") } else { part!("items/order/any.wgsl") });
    parts.push(match (variant.grad_second, variant.width) {
        (false, _) => part!("items/grad_second/none.wgsl"),
        (true, Width::One | Width::Two) => part!("items/grad_second/one.wgsl"),
        (true, Width::Four) => part!("items/grad_second/four.wgsl"),
        (true, Width::Eight) => part!("items/grad_second/eight.wgsl"),
    });
    parts.push(match variant.second {
        None => part!("items/second/none.wgsl"),
        Some(Second::Dense) => part!("items/second/dense.wgsl"),
        Some(Second::Broadcast) => part!("items/second/broadcast.wgsl"),
    });
    parts.push(match (variant.losses, variant.width) {
        (ItemLosses::Summed { .. }, _) => part!("items/losses/summed.wgsl"),
        (ItemLosses::Each, Width::One | Width::Two) => part!("items/losses/one.wgsl"),
        (ItemLosses::Each, Width::Four | Width::Eight) => part!("items/losses/four.wgsl"),
    });
    parts.push(match (variant.grad_output, variant.losses, variant.width) {
        (false, _, _) => part!("items/grad_output/none.wgsl"),
        (true, ItemLosses::Summed { .. }, _) => part!("items/grad_output/scalar.wgsl"),
        (true, ItemLosses::Each, Width::One | Width::Two) => part!("items/grad_output/one.wgsl"),
        (true, ItemLosses::Each, Width::Four | Width::Eight) => part!("items/grad_output/four.wgsl"),
    });
    parts.push(if variant.weight { part!("items/weight/bound.wgsl") } else { part!("items/weight/none.wgsl") });
    parts.push(if variant.pos_weight {
        part!("items/pos_weight/bound.wgsl")
    } else {
        part!("items/pos_weight/none.wgsl")
    });
    parts.extend(group(variant.group));
    parts.extend([part!("lib/broadcast.wgsl"), part!("lib/ieee.wgsl"), part!("lib/partial_sum.wgsl")]);
    parts.extend(base(variant.words, variant.exp));
    parts
}

fn reduce(variant: ReduceVariant) -> Vec<Part> {
    let mut parts = vec![part!("reduce/template.wgsl")];
    // source/, read/
    match variant.source {
        Source::Empty => parts.push(part!("reduce/source/empty.wgsl")),
        Source::Losses => parts.push(part!("reduce/source/losses.wgsl")),
        Source::CallerLosses => parts.push(part!("reduce/source/caller_losses.wgsl")),
        Source::PartialSums => parts.push(part!("reduce/source/partial_sums.wgsl")),
        Source::Labels { width, weighs_mean, sample_weight, mask, .. } => {
            parts.extend([part!("reduce/source/labels.wgsl"), counted(width)]);
            parts.extend(counts(weighs_mean, sample_weight, mask));
        }
        Source::RowWeights { mask } => {
            parts.push(part!("reduce/source/row_weights.wgsl"));
            parts.extend(counts(false, true, mask));
        }
        Source::Mask { width } => parts.extend([part!("reduce/source/mask.wgsl"), counted(width)]),
    }
    parts.push(match variant.purpose {
        Purpose::Denominator => part!("reduce/result/denominator.wgsl"),
        Purpose::Loss { .. } => part!("reduce/result/loss.wgsl"),
        Purpose::Status => part!("reduce/result/status.wgsl"),
    });
    match variant.reported {
        Reported::Nothing => parts.push(part!("reduce/reported/none.wgsl")),
        Reported::Target => parts.push(part!("reduce/reported/target.wgsl")),
        Reported::Input(stored) => {
            parts.push(part!("reduce/reported/input.wgsl"));
            parts.extend(read(stored, Width::One));
        }
    }
    parts.extend(group(variant.group));
    parts.extend([part!("lib/totals.wgsl"), part!("lib/partial_sum.wgsl")]);
    parts.extend(base(variant.words, Exp::Careful));
    parts
}

fn sum_to_shape(variant: SumToShapeVariant) -> Vec<Part> {
    let mut parts = vec![part!("reduce/sum_to_shape.wgsl")];
    parts.extend(group(variant.group));
    parts.extend(write(Some(variant.output), Width::One));
    parts.push(part!("lib/partial_sum.wgsl"));
    parts.extend(base(variant.words, Exp::Careful));
    parts
}

/// What every module ends with.
fn base(words: Words, exp: Exp) -> [Part; 4] {
    let words = match words {
        Words::W32 => part!("io/words/32.wgsl"),
        Words::W64 => part!("io/words/64.wgsl"),
    };
    let exp = match exp {
        Exp::Careful => part!("lib/exp/careful.wgsl"),
        Exp::Proven => part!("lib/exp/proven.wgsl"),
    };
    [words, part!("lib/math.wgsl"), exp, part!("lib/params.wgsl")]
}

/// The input and its gradient: io/read/ and io/write/, or io/in_place/; and io/dtype/.
fn input(stored: Stored, gradient: Option<Stored>, in_place: bool, width: Width) -> Vec<Part> {
    if !in_place {
        return [read(stored, width), write(gradient, width)].concat();
    }
    let both = match (stored, width) {
        (Stored::F32, Width::One | Width::Two) => part!("io/in_place/one_32.wgsl"),
        (Stored::F32, Width::Four) => part!("io/in_place/four_32.wgsl"),
        (Stored::F32, Width::Eight) => part!("io/in_place/eight_32.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::One | Width::Two) => part!("io/in_place/two_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Four) => part!("io/in_place/four_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Eight) => part!("io/in_place/eight_16.wgsl"),
    };
    let converted = widen(stored).into_iter().chain(gradient.and_then(narrow));
    [both].into_iter().chain(converted).collect()
}

/// io/read/ and io/dtype/.
fn read(stored: Stored, width: Width) -> Vec<Part> {
    let reads = match (stored, width) {
        (Stored::F32, Width::One | Width::Two) => part!("io/read/one_32.wgsl"),
        (Stored::F32, Width::Four) => part!("io/read/four_32.wgsl"),
        (Stored::F32, Width::Eight) => part!("io/read/eight_32.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::One | Width::Two) => part!("io/read/two_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Four) => part!("io/read/four_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Eight) => part!("io/read/eight_16.wgsl"),
    };
    [reads].into_iter().chain(widen(stored)).collect()
}

fn widen(stored: Stored) -> Option<Part> {
    match stored {
        Stored::F32 => None,
        Stored::F16 { proven: false } => Some(part!("io/dtype/widen_f16.wgsl")),
        Stored::F16 { proven: true } => Some(part!("io/dtype/widen_f16_proven.wgsl")),
        Stored::Bf16 => Some(part!("io/dtype/widen_bf16.wgsl")),
    }
}

/// io/write/ and io/dtype/.
fn write(stored: Option<Stored>, width: Width) -> Vec<Part> {
    let Some(stored) = stored else { return vec![part!("io/write/none.wgsl")] };
    let writes = match (stored, width) {
        (Stored::F32, Width::One | Width::Two) => part!("io/write/one_32.wgsl"),
        (Stored::F32, Width::Four) => part!("io/write/four_32.wgsl"),
        (Stored::F32, Width::Eight) => part!("io/write/eight_32.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::One | Width::Two) => part!("io/write/two_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Four) => part!("io/write/four_16.wgsl"),
        (Stored::F16 { .. } | Stored::Bf16, Width::Eight) => part!("io/write/eight_16.wgsl"),
    };
    [writes].into_iter().chain(narrow(stored)).collect()
}

fn narrow(stored: Stored) -> Option<Part> {
    match stored {
        Stored::F32 => None,
        Stored::F16 { proven: false } => Some(part!("io/dtype/narrow_f16.wgsl")),
        Stored::F16 { proven: true } => Some(part!("io/dtype/narrow_f16_proven.wgsl")),
        Stored::Bf16 => Some(part!("io/dtype/narrow_bf16.wgsl")),
    }
}

/// group/, and what its files have in common.
fn group(group: Group) -> [Part; 2] {
    let lanes = match group {
        Group::Single { .. } => part!("group/single.wgsl"),
        Group::Shuffles { .. } => part!("group/shuffles.wgsl"),
        Group::Memory { .. } => part!("group/memory.wgsl"),
    };
    [lanes, part!("lib/reductions.wgsl")]
}

fn target(access: TargetAccess) -> Part {
    match access {
        TargetAccess::ClassIndex => part!("rows/target/class_index.wgsl"),
        TargetAccess::Values(Width::One | Width::Two) => part!("rows/target/one.wgsl"),
        TargetAccess::Values(Width::Four | Width::Eight) => part!("rows/target/four.wgsl"),
    }
}

fn class_weight(given: Option<ClassWeight>) -> Part {
    match given {
        None => part!("rows/class_weight/none.wgsl"),
        Some(ClassWeight::OfClasses(Width::One | Width::Two)) => part!("rows/class_weight/one.wgsl"),
        Some(ClassWeight::OfClasses(Width::Four | Width::Eight)) => part!("rows/class_weight/four.wgsl"),
        Some(ClassWeight::OfRows) => part!("rows/class_weight/of_rows.wgsl"),
    }
}

/// What a row counts besides its class: its own weight, unless it is masked.
fn own_weight(sample_weight: bool, mask: bool) -> [Part; 3] {
    let weight =
        if sample_weight { part!("rows/sample_weight/bound.wgsl") } else { part!("rows/sample_weight/none.wgsl") };
    let mask = if mask { part!("rows/row_mask/bound.wgsl") } else { part!("rows/row_mask/none.wgsl") };
    [weight, mask, part!("lib/excluded.wgsl")]
}

/// What rows count, in a reduction.
fn counts(weighs_mean: bool, sample_weight: bool, mask: bool) -> Vec<Part> {
    let class_weight = class_weight(weighs_mean.then_some(ClassWeight::OfClasses(Width::One)));
    let mut parts = vec![class_weight, part!("lib/counts.wgsl"), part!("lib/labels.wgsl")];
    parts.extend(own_weight(sample_weight, mask));
    parts
}

fn counted(width: Width) -> Part {
    match width {
        Width::One | Width::Two | Width::Four => part!("reduce/read/one.wgsl"),
        Width::Eight => part!("reduce/read/eight.wgsl"),
    }
}
