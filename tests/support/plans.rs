//! What every plan promises, whatever is asked and whatever the device allows: checked by arithmetic, without a device. A call that is
//! refused is refused by an error.

use deeploss::internals::{Dispatch, DispatchParams, Layout, Lowered, RowLayout, RowShape, TensorId};
use deeploss::{
    AdapterFacts, BceWithLogits, CrossEntropy, Dtype, Error, LOSSES, Loss, Plan, Problem, Reduction, TargetKind, Want,
};

/// One question to the planner.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) loss: Asked,
    pub(crate) reduction: Reduction,
    pub(crate) shape: Vec<usize>,
    /// Without it, what the loss takes.
    pub(crate) target: Option<TargetKind>,
    pub(crate) target_shape: Option<Vec<usize>>,
    pub(crate) input2_shape: Option<Vec<usize>>,
    pub(crate) want: Want,
    pub(crate) dtypes: [Dtype; 2],
    pub(crate) in_place: bool,
    /// `grad_output`, `ignore_mask`, `sample_weight`.
    pub(crate) given: [bool; 3],
    pub(crate) facts: AdapterFacts,
}

/// The loss that is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// A row of the table of losses, and one of its variants.
    Table(usize, usize),
    /// Cross-entropy along an axis, with weights from a buffer.
    ClassAxis(usize),
    /// A loss of elements with weights of a shape, from a buffer.
    Weighted(Vec<usize>),
}

impl Asked {
    fn loss(&self, shape: &[usize]) -> Box<dyn Loss> {
        match self {
            &Self::Table(number, variant) => {
                // Variants have a weight for each class: where there are too many, those of three are refused in time.
                let classes = shape.get(usize::from(shape.len() > 1)).copied().filter(|c| (1..=4096).contains(c));
                let mut variants = (LOSSES[number % LOSSES.len()].variants)(classes.unwrap_or(3));
                let place = variant % variants.len();
                variants.swap_remove(place)
            }
            &Self::ClassAxis(axis) => Box::new(CrossEntropy::new().class_axis(axis).weight_from_buffer()),
            Self::Weighted(shape) => Box::new(BceWithLogits::new().weight_from_buffer(shape)),
        }
    }
}

impl Case {
    fn problem(&self, loss: &dyn Loss) -> Problem {
        let [grad_output, ignore_mask, sample_weight] = self.given;
        let own = if loss.takes_class_indices() { TargetKind::Indices } else { TargetKind::Values };
        let mut problem = Problem::new(&self.shape, self.target.unwrap_or(own))
            .wants(self.want)
            .input_dtype(self.dtypes[0])
            .grad_dtype(self.dtypes[1]);
        if let Some(shape) = &self.target_shape {
            problem = problem.target_shape(shape);
        }
        if let Some(shape) = &self.input2_shape {
            problem = problem.input2_shape(shape);
        }
        if grad_output {
            problem = problem.with_grad_output();
        }
        if self.in_place {
            problem = problem.grad_in_place();
        }
        if ignore_mask {
            problem = problem.with_ignore_mask();
        }
        if sample_weight {
            problem = problem.with_sample_weight();
        }
        problem
    }

    /// Whether the call was planned, and what is wrong with the plan.
    pub(crate) fn check(&self) -> Result<bool, String> {
        let loss = self.loss.loss(&self.shape).with_reduction(self.reduction);
        let problem = self.problem(&*loss);
        let planned =
            loss.lower(&problem).and_then(|lowered| Ok((Plan::new(&lowered, &problem, &self.facts, None)?, lowered)));
        match planned {
            Ok((plan, lowered)) => self.check_plan(&plan, &lowered).map(|()| true),
            Err(error @ (Error::Shape { .. } | Error::Value { .. } | Error::Missing { .. }))
                if error.is_invalid_input() =>
            {
                Ok(false)
            }
            Err(error @ Error::Unsupported { .. }) if !error.to_string().is_empty() => Ok(false),
            Err(error) => Err(format!("refused by {error:?}")),
        }
    }

    fn check_plan(&self, plan: &Plan, lowered: &Lowered) -> Result<(), String> {
        let facts = &self.facts;
        let say =
            |holds: bool, what: &dyn std::fmt::Debug| if holds { Ok(()) } else { Err(format!("{what:?} in {plan}")) };
        for &(tensor, size) in plan.sizes().iter().chain(plan.scratch()) {
            say(size <= facts.max_buffer && size.is_multiple_of(4), &(tensor, size))?;
        }
        for dispatch in plan.dispatches() {
            let [x, y] = dispatch.grid;
            say(x > 0 && y > 0 && x.max(y) <= facts.max_workgroups, &dispatch.grid)?;
            say(dispatch.binds.len() <= facts.max_storage_buffers as usize, &dispatch.binds.len())?;
            say(dispatch.kernel.bindings().len() == dispatch.binds.len(), &"a variable is bound to nothing")?;
            for bind in &dispatch.binds {
                let end = bind.offset.checked_add(bind.size);
                let inside = end.is_some_and(|end| end <= plan.size_of(bind.tensor));
                let aligned =
                    bind.offset.is_multiple_of(facts.offset_alignment) && bind.size.is_multiple_of(bind.stride);
                say(bind.size > 0 && bind.size <= facts.max_binding && inside && aligned, bind)?;
            }
        }
        match &lowered.layout {
            Layout::Rows(rows) => {
                for entry in ["rows", "parts", "second_parts", "results", "count_labels"] {
                    self.check_rows(plan, entry, rows)?;
                }
            }
            Layout::Items(_) => check_items(plan, lowered.items())?,
        }
        for dispatch in plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == "reduce") {
            let params = dispatch.params();
            let reached = u64::from(params.chunk) * groups(dispatch);
            say(reached >= u64::from(params.item_count), &("items of a sum", reached, params.item_count))?;
        }
        Ok(())
    }

    /// The dispatches of one entry have every row once, and every element of it within what is bound.
    fn check_rows(&self, plan: &Plan, entry: &str, layout: &RowLayout) -> Result<(), String> {
        let (rows, RowShape { classes, inner, .. }) = (layout.shape.rows(), layout.shape);
        let mut next = 0_u64;
        let own: Vec<&Dispatch> =
            plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == entry).collect();
        for dispatch in &own {
            let params = dispatch.params();
            let first = u64::from(params.first_row) + u64::from(params.start);
            let whole = u64::from(params.rows.max(params.start));
            let fail = |what: &str| Err(format!("{entry}: {what}: {params:?} in {plan}"));
            if (u64::from(params.classes), u64::from(params.inner)) != (classes as u64, inner as u64) {
                return fail("other dimensions");
            }
            if first != next {
                return fail("rows are left out or taken twice");
            }
            next = u64::from(params.first_row) + u64::from(params.rows);
            let parts = if entry == "results" { 1 } else { params.parts };
            let units = u64::from(params.rows.saturating_sub(params.start)) * u64::from(parts);
            if groups(dispatch) * per_group(dispatch) < units {
                return fail("too few workgroups");
            }
            let end = u64::from(params.base) + whole * classes as u64;
            // Kernels count in 32 bits, and step past the end by less than a workgroup's share.
            if end > 1 << 31 {
                return fail("more elements than 32 bits count");
            }
            for bind in &dispatch.binds {
                let Some(size) = self.element_size(bind.tensor, !layout.has_indices()) else { continue };
                let starts = [TensorId::LabelCounts, TensorId::InputCopy].contains(&bind.tensor)
                    || bind.offset + u64::from(params.base) * size
                        == u64::from(params.first_row) * classes as u64 * size;
                if !starts || end * size > bind.size {
                    return fail("elements outside of what is bound");
                }
            }
        }
        if own.is_empty() || next == rows as u64 {
            Ok(())
        } else {
            Err(format!("{entry}: {next} of {rows} rows: {plan}"))
        }
    }

    /// Bytes of an element of a tensor with a value per class.
    fn element_size(&self, tensor: TensorId, has_values: bool) -> Option<u64> {
        match tensor {
            TensorId::Input | TensorId::InputCopy => Some(self.dtypes[0].size()),
            TensorId::GradInput => Some(self.dtypes[1].size()),
            TensorId::GradTarget | TensorId::LabelCounts => Some(4),
            // A class index per row is bound as a whole.
            TensorId::Target if has_values => Some(4),
            _ => None,
        }
    }
}

/// The dispatches of an element-wise loss have every item once.
fn check_items(plan: &Plan, items: usize) -> Result<(), String> {
    let mut next = 0_u64;
    let own = plan.dispatches().iter().filter(|dispatch| dispatch.kernel.entry() == "items");
    for dispatch in own {
        let params: DispatchParams = dispatch.params();
        let reached = u64::from(params.first_row) + u64::from(params.chunk) * groups(dispatch);
        if u64::from(params.first_row) != next || reached < u64::from(params.item_count) {
            return Err(format!("items are left out or taken twice: {params:?} in {plan}"));
        }
        next = u64::from(params.item_count);
    }
    if next == items as u64 { Ok(()) } else { Err(format!("{next} of {items} items: {plan}")) }
}

fn groups(dispatch: &Dispatch) -> u64 {
    u64::from(dispatch.grid[0]) * u64::from(dispatch.grid[1])
}

/// Rows, or parts of rows, of a workgroup.
fn per_group(dispatch: &Dispatch) -> u64 {
    let constants = dispatch.kernel.constants();
    let constant = |name| constants.iter().find(|(n, _)| *n == name).map_or(1, |&(_, value)| u64::from(value));
    if dispatch.kernel.entry() == "count_labels" {
        64
    } else {
        constant("WORKGROUP") / constant("LANES") * constant("TILE")
    }
}
