//! Losses over rows: bands that fit a binding, then the dispatches of each.

use super::strategy::{INDEPENDENT, RowStrategy};
use super::uniforms::{DispatchParams, NO_PARAMS};
use super::{Pieces, Planner, Summed, TensorId};
use crate::error::Error;
use crate::lowered::{Denominator, RowLayout, RowTargets};
use crate::problem::{Dtype, Want};
use crate::wgsl::variant::{
    Batch, ClassWeight, CountLabelsVariant, Driver, Held, Kernel, RowVariant, SplitStep, TargetAccess, Width,
};

/// At most this many rows, and they are counted by every invocation: that takes less time than another dispatch takes to start. No
/// more than a workgroup has.
const SMALL_ROWS: usize = 64;
/// Storage bindings of a kernel that does all for them, besides those of what else is wanted.
const SMALL_BUFFERS: usize = 8;

/// One call of a loss over rows, while its dispatches are made.
struct Rows<'a> {
    planner: &'a Planner<'a>,
    layout: &'a RowLayout,
    /// Where the losses of the rows go.
    losses: TensorId,
    small: bool,
}

impl Planner<'_> {
    /// The dispatches of a loss over rows, but for those that count the denominator.
    pub(super) fn push_rows(
        &self,
        pieces: &mut Pieces,
        layout: &RowLayout,
        strategy: RowStrategy,
    ) -> Result<(), Error> {
        let shape = layout.shape;
        let in_loss = !self.lowered.is_reduced() && self.wants(Want::LOSS);
        let losses = if in_loss { TensorId::Loss } else { TensorId::ItemLosses };
        if !in_loss {
            pieces.scratch(losses, Dtype::F32.bytes(shape.rows().next_multiple_of(8)));
        }
        let small = self.is_small(layout, strategy);
        let rows = Rows { planner: self, layout, losses, small };
        let bands = Bands::of(self, layout);
        let sample = || format!("a sample of {} x {} logits", shape.classes, shape.inner);
        let Some(per_band) = bands.samples.filter(|_| bands.are_aligned || strategy.takes_any_base()) else {
            return Err(self.too_large(sample()));
        };
        let elements = shape.classes * shape.inner;
        // One band after the other uses it.
        if layout.has_lists() {
            let most = per_band.min(shape.outer) * elements + if bands.are_aligned { 0 } else { bands.unit };
            pieces.scratch(TensorId::LabelCounts, Dtype::F32.bytes(most));
            if self.problem.grad_in_place {
                pieces.scratch(TensorId::InputCopy, self.problem.input_dtype.bytes(most));
            }
        }
        let mut start = 0;
        while start < shape.outer && shape.inner > 0 {
            let samples = per_band.min(shape.outer - start);
            let params = DispatchParams {
                rows: (samples * shape.inner) as u32,
                first_row: (start * shape.inner) as u32,
                base: (start * elements % bands.unit) as u32,
                ..DispatchParams::new(self.lowered)
            };
            rows.push_band(pieces, strategy, params)?;
            start += samples;
        }
        if self.sums_losses() && !small {
            self.push_reduction(pieces, Summed::Losses(losses))?;
        }
        Ok(())
    }

    fn sums_losses(&self) -> bool {
        self.lowered.checked.is_some() || (self.lowered.is_reduced() && self.wants(Want::LOSS))
    }

    /// Whether one workgroup has all rows, and does what would be dispatches of their own: every invocation counts all rows, and one
    /// of them sums all losses. Not where that takes more bindings than the device has.
    pub(super) fn is_small(&self, layout: &RowLayout, strategy: RowStrategy) -> bool {
        let rows = layout.shape.rows();
        let whole = match strategy {
            RowStrategy::Thread | RowStrategy::Staged => true,
            RowStrategy::Tile { rows: tile } => rows.is_multiple_of(tile as usize),
            _ => false,
        };
        let more = [self.wants(Want::GRAD_TARGET), self.wants(Want::STATS), layout.sample_weight, layout.mask];
        let buffers = SMALL_BUFFERS + more.into_iter().filter(|&bound| bound).count();
        (1..=SMALL_ROWS).contains(&rows)
            && whole
            && !layout.has_lists()
            && Bands::of(self, layout).samples.is_some_and(|samples| samples >= layout.shape.outer)
            && buffers <= self.facts.max_storage_buffers as usize
            && (self.sums_losses() || self.lowered.denominator == Denominator::Counted)
    }
}

/// How a batch is cut into bands of whole samples, of which each fits a binding.
struct Bands {
    /// Samples of a band; `None` if not even one fits.
    samples: Option<usize>,
    /// Every band begins where a binding may. Else a binding begins up to `unit` elements before its band.
    are_aligned: bool,
    /// Elements from one place where a binding may begin, in every tensor with a value per class, to the next.
    unit: usize,
}

impl Bands {
    /// Kernels number the elements of a band in 32 bits, and may step past the last one.
    const MOST_ELEMENTS: u64 = 1 << 31;

    fn of(planner: &Planner<'_>, layout: &RowLayout) -> Self {
        let shape = layout.shape;
        let sizes = [planner.problem.input_dtype, planner.problem.grad_dtype].map(Dtype::size);
        // Targets and label counts of the logits' shape have four bytes each.
        let largest = if layout.has_indices() { sizes[0].max(sizes[1]) } else { 4 };
        // What is aligned in the tensor with the smallest elements is in the others.
        let unit = (planner.facts.alignment() / sizes[0].min(sizes[1])) as usize;
        let most = (planner.facts.max_binding / largest).min(Self::MOST_ELEMENTS) as usize;
        let sample = (shape.classes * shape.inner).max(1);
        if shape.outer <= most / sample {
            return Self { samples: Some(shape.outer.max(1)), are_aligned: true, unit };
        }
        let shared = gcd(unit, sample);
        let step = unit / shared;
        let aligned = most / sample / step * step;
        if aligned > 0 {
            return Self { samples: Some(aligned), are_aligned: true, unit };
        }
        // Large samples: what alignment takes is little beside one. A band begins at a multiple of `shared`.
        let samples = most.saturating_sub(unit - shared) / sample;
        Self { samples: Some(samples).filter(|&samples| samples > 0), are_aligned: false, unit }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Rows<'_> {
    /// The dispatches of one band of rows.
    fn push_band(&self, pieces: &mut Pieces, strategy: RowStrategy, params: DispatchParams) -> Result<(), Error> {
        let rows = params.rows as usize;
        match strategy {
            RowStrategy::Tile { rows: tile } => {
                let tiled = rows - rows % tile as usize;
                let classes = self.layout.shape.classes as u32;
                if tiled > 0 {
                    let driver = Driver::Tile { rows: tile, classes };
                    self.push(pieces, strategy, driver, tiled, DispatchParams { rows: tiled as u32, ..params })?;
                }
                // Rows that do not fill a tile.
                if tiled < rows {
                    let params = DispatchParams { start: tiled as u32, ..params };
                    self.push(
                        pieces,
                        RowStrategy::Thread,
                        Driver::Whole { held: Held::NOTHING },
                        rows - tiled,
                        params,
                    )?;
                }
                Ok(())
            }
            RowStrategy::Split { parts, .. } => {
                let chunk = strategy.part_pairs(self.layout.shape.classes) as u32;
                let params = DispatchParams { parts, chunk, ..params };
                let in_place = self.planner.problem.grad_in_place;
                let each_part = rows * parts as usize;
                let mut push = |step, units| self.push(pieces, strategy, Driver::Split { step }, units, params);
                push(SplitStep::Parts, each_part)?;
                if self.layout.second_pass {
                    push(SplitStep::SecondParts, each_part)?;
                }
                if in_place {
                    push(SplitStep::Results, rows)?;
                }
                push(SplitStep::Rows, each_part)
            }
            RowStrategy::Staged => {
                let driver = Driver::Staged { classes: self.layout.shape.classes as u32 };
                self.push(pieces, strategy, driver, rows, params)
            }
            RowStrategy::Thread | RowStrategy::Lanes { .. } => {
                if self.layout.has_lists() {
                    self.push_label_counts(pieces, params)?;
                }
                if self.reads_copy() {
                    self.push_input_copy(pieces, params)?;
                }
                // Where rows may begin in the middle of a word, one class more may need a pair of its own.
                let shape = self.layout.shape;
                let by_words = self.width(Driver::Whole { held: Held::NOTHING }, self.grad_input()) == Width::Two;
                let held = strategy.held(shape.classes + usize::from(by_words));
                self.push(pieces, strategy, Driver::Whole { held }, rows, params)
            }
        }
    }

    /// One dispatch over the rows of a band: this many units, which are rows or parts of rows.
    fn push(
        &self,
        pieces: &mut Pieces,
        strategy: RowStrategy,
        driver: Driver,
        units: usize,
        params: DispatchParams,
    ) -> Result<(), Error> {
        let grid = self.planner.grid(units.div_ceil(strategy.rows_per_workgroup(self.planner.facts)))?;
        let kernel = Kernel::Rows(self.variant(strategy, driver));
        if let RowStrategy::Split { parts, .. } = strategy {
            let sums = if self.layout.second_pass { 2 } else { 1 };
            let bindings = kernel.bindings();
            let stride = |name| bindings.iter().find(|binding| binding.name == name).map_or(0, |found| found.stride);
            let rows = self.layout.shape.rows() as u64;
            pieces.scratch(TensorId::Partials, sums * stride("partials") * u64::from(parts) * rows);
            if stride("row_states") > 0 {
                pieces.scratch(TensorId::RowStates, stride("row_states") * rows);
            }
        }
        let params = DispatchParams { grid_x: grid[0], ..params };
        let uniforms = params.followed_by(&[&self.planner.lowered.params]);
        self.push_kernel(pieces, kernel, &params, uniforms, grid)
    }

    /// Counts the labels of each row, one invocation per row.
    fn push_label_counts(&self, pieces: &mut Pieces, params: DispatchParams) -> Result<(), Error> {
        let grid = self.planner.grid((params.rows as usize).div_ceil(INDEPENDENT as usize))?;
        let params = DispatchParams { grid_x: grid[0], ..params };
        let kernel =
            Kernel::CountLabels(CountLabelsVariant { width: self.per_class(Width::Four), words: self.planner.words() });
        self.push_kernel(pieces, kernel, &params, params.followed_by(&[NO_PARAMS]), grid)
    }

    /// Whether the gradient of a class, which overwrites its logit, needs the logits of others: each is compared with those listed.
    fn reads_copy(&self) -> bool {
        self.planner.problem.grad_in_place && self.layout.has_lists()
    }

    /// Copies the logits of a band, for the kernel to read.
    fn push_input_copy(&self, pieces: &mut Pieces, params: DispatchParams) -> Result<(), Error> {
        let elements = params.base as usize + params.rows as usize * self.layout.shape.classes;
        let words = (self.planner.problem.input_dtype.bytes(elements) / 4) as usize;
        let grid = self.planner.grid(words.div_ceil(INDEPENDENT as usize))?;
        let params = DispatchParams { grid_x: grid[0], item_count: words as u32, ..params };
        self.push_kernel(pieces, Kernel::CopyInput, &params, params.followed_by(&[NO_PARAMS]), grid)
    }

    /// Tensors with a value per class are bound band by band, all others as a whole.
    fn push_kernel(
        &self,
        pieces: &mut Pieces,
        kernel: Kernel,
        params: &DispatchParams,
        uniforms: Vec<u8>,
        grid: [u32; 2],
    ) -> Result<(), Error> {
        let classes = self.layout.shape.classes;
        let reads_copy = self.reads_copy() && matches!(kernel, Kernel::Rows(_));
        let tensor = |name: &str| match name {
            "losses" => Some(self.losses),
            "input" if reads_copy => Some(TensorId::InputCopy),
            "grad_input" => Some(self.planner.grad_tensor()),
            _ => TensorId::of_variable(name),
        };
        let range = |tensor: TensorId, size: u64, _stride: u64| {
            // `first_row` and `rows` are whole samples.
            let bytes = |elements: usize| self.planner.dtype_of(tensor).bytes(elements);
            let first = params.first_row as usize * classes;
            let base = params.base as usize;
            let end = base + params.rows.max(params.start) as usize * classes;
            match tensor {
                TensorId::LabelCounts | TensorId::InputCopy => 0..bytes(end),
                // One class index per row is addressed in the whole batch.
                TensorId::Target if self.layout.has_indices() => 0..size,
                TensorId::Weight if !self.layout.row_weights => 0..size,
                TensorId::Input | TensorId::Weight | TensorId::Target | TensorId::GradInput | TensorId::GradTarget => {
                    bytes(first - base)..bytes(first - base + end)
                }
                _ => 0..size,
            }
        };
        self.planner.push(pieces, kernel, uniforms, grid, tensor, range)
    }

    fn variant(&self, strategy: RowStrategy, driver: Driver) -> RowVariant {
        let Self { planner, layout, small, .. } = *self;
        let (lowered, problem) = (planner.lowered, planner.problem);
        let grad_input = self.grad_input();
        let facts = planner.facts;
        let has_weight = lowered.weight.is_given();
        let counted = lowered.denominator == Denominator::Counted;
        let width = self.width(driver, grad_input);
        RowVariant {
            loss: lowered.source,
            flags: lowered.flags,
            peak: layout.peak,
            second_pass: layout.second_pass,
            careful: facts.is_cpu && matches!(strategy, RowStrategy::Thread | RowStrategy::Tile { .. }),
            exp: planner.exp(),
            lists: layout.has_lists(),
            driver,
            group: strategy.group(facts),
            width,
            input: planner.input(),
            grad_input: grad_input.map(|dtype| planner.written(dtype)),
            in_place: problem.grad_in_place && !self.reads_copy(),
            target: match layout.target {
                RowTargets::Indices { .. } => TargetAccess::ClassIndex,
                RowTargets::Lists | RowTargets::Values => TargetAccess::Values(self.per_class(width)),
            },
            grad_target: planner.wants(Want::GRAD_TARGET).then(|| self.per_class(width)),
            class_weight: has_weight.then(|| {
                if layout.row_weights {
                    return ClassWeight::OfRows;
                }
                // Wherever the class axis is, class weights are neighbours; those of a four are where the lanes' classes are.
                let single = strategy.lanes() == 1;
                let fours = layout.shape.classes.is_multiple_of(4) && (single || width >= Width::Four);
                ClassWeight::OfClasses(if fours { Width::Four } else { Width::One })
            }),
            sample_weight: layout.sample_weight,
            mask: layout.mask,
            stats: planner.wants(Want::STATS),
            grad_output: problem.grad_output,
            reduced: lowered.is_reduced(),
            ignores: matches!(&layout.target, RowTargets::Indices { ignore } if !ignore.is_empty()),
            batch: match (small, counted) {
                (true, _) => Batch::Within {
                    counted,
                    sums_loss: lowered.is_reduced() && planner.wants(Want::LOSS),
                    weighs_mean: layout.weighs_mean && has_weight,
                },
                (false, true) => Batch::Counted,
                (false, false) => Batch::Fixed,
            },
            words: planner.words(),
        }
    }

    /// Whether the values of a row, one per class, consist of aligned fours.
    fn has_fours(&self) -> bool {
        self.layout.shape.classes.is_multiple_of(4) && self.layout.shape.inner == 1
    }

    /// How 32-bit values per class are accessed, where logits are accessed so.
    fn per_class(&self, logits: Width) -> Width {
        if self.has_fours() && logits >= Width::Four { Width::Four } else { Width::One }
    }

    fn grad_input(&self) -> Option<Dtype> {
        self.planner.wants(Want::GRAD).then_some(self.planner.problem.grad_dtype)
    }

    /// How logits are accessed. Those of a tile are read by fours, though a row alone may not begin at one; rows that are staged are read
    /// by elements, and written by words.
    fn width(&self, driver: Driver, grad_input: Option<Dtype>) -> Width {
        let planner = self.planner;
        let sizes = [Some(planner.problem.input_dtype), grad_input];
        let has_16_bits = sizes.into_iter().flatten().any(|dtype| dtype.size() == 2);
        let all_16_bits = sizes.into_iter().flatten().all(|dtype| dtype.size() == 2);
        let shape = self.layout.shape;
        match driver {
            Driver::Tile { .. } => Width::Four,
            Driver::Staged { .. } => Width::One,
            _ if self.has_fours() && (has_16_bits || planner.facts.wide_words()) && shape.classes.is_multiple_of(8) => {
                Width::Eight
            }
            _ if self.has_fours() => Width::Four,
            _ if all_16_bits && shape.inner == 1 => Width::Two,
            _ => Width::One,
        }
    }
}
