//! The list of tensors: those of the caller, and those that a prepared call owns.

/// Calls a macro with the caller's tensors: variant, name of the field in [`Buffers`](crate::Buffers), its documentation.
macro_rules! caller_tensors {
    ($apply:ident) => {
        $apply! {
            Input input "Logits, log-probabilities, probabilities or scores. Also out where the call was prepared with \
                [`Problem::grad_in_place`](crate::Problem::grad_in_place): their gradient.",
            Input2 input2 "The second input, for losses that compare two.",
            Target target "Class indices (`i32`), one per row, or values.",
            Weight weight "Class or item weights, where the loss takes them from a buffer.",
            PosWeight pos_weight "Weights of the positive part, where the loss takes them from a buffer.",
            IgnoreMask ignore_mask "`u32` per row or element: those where it is not 0 are ignored, whatever they hold.",
            SampleWeight sample_weight "A weight per row, where the call was prepared with them. A row that weighs 0 is ignored, whatever it holds.",
            GradOutput grad_output "Upstream gradient: one value if reduced, else one per item.",
            Loss loss "Out: one value if reduced, else one per item.",
            GradInput grad_input "Out: gradient with respect to the input. None where it overwrites the input.",
            GradInput2 grad_input2 "Out: gradient with respect to the second input.",
            GradTarget grad_target "Out: gradient with respect to a floating-point target.",
            Stats stats "Out: four words per row: log-sum-exp and entropy (`f32`), argmax and top-1 hit (`u32`).",
        }
    };
}
pub(crate) use caller_tensors;

macro_rules! tensor_ids {
    ($($variant:ident $field:ident $doc:literal,)*) => {
        /// The tensors of a call, by the names that errors use, and the buffers that a prepared call owns.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum TensorId {
            $(#[doc = $doc] $variant,)*
            /// Scratch: the loss of each item.
            ItemLosses,
            /// Scratch: denominator, status, partial sums.
            Work,
            /// Scratch: how often each class is listed.
            LabelCounts,
            /// Scratch: the sums of each part of a split row.
            Partials,
            /// Scratch: what the gradient of a split row needs besides its classes, where it overwrites them.
            RowStates,
            /// Scratch: the logits, where a gradient overwrites them that needs all of a row.
            InputCopy,
            /// Scratch: the gradient of a broadcast input, before it is summed to its shape.
            WideGradInput,
            /// Scratch: the same of a second input or target.
            WideGradSecond,
            /// Scratch: partial sums of the gradient of a broadcast input.
            PartialGradInput,
            /// Scratch: the same of a second input or target.
            PartialGradSecond,
        }

        impl TensorId {
            /// The tensors that callers give, in the order of [`Buffers`](crate::Buffers).
            pub const OF_CALLER: &[Self] = &[$(Self::$variant),*];

            /// The name of the field in [`Buffers`](crate::Buffers), or of the scratch.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)*
                    Self::ItemLosses => "item_losses",
                    Self::Work => "work",
                    Self::LabelCounts => "label_counts",
                    Self::Partials => "partials",
                    Self::RowStates => "row_states",
                    Self::InputCopy => "input_copy",
                    Self::WideGradInput => "wide_grad_input",
                    Self::WideGradSecond => "wide_grad_second",
                    Self::PartialGradInput => "partial_grad_input",
                    Self::PartialGradSecond => "partial_grad_second",
                }
            }
        }
    };
}
caller_tensors!(tensor_ids);

impl TensorId {
    /// Written by the kernels, into the caller's buffer.
    #[must_use]
    pub fn is_output(self) -> bool {
        matches!(self, Self::Loss | Self::GradInput | Self::GradInput2 | Self::GradTarget | Self::Stats)
    }

    /// The tensor that a kernel's variable of this name is, where the variable has one meaning in every kernel.
    pub(crate) fn of_variable(name: &str) -> Option<Self> {
        match name {
            // `target` is a reserved word of WGSL.
            "target_data" => Some(Self::Target),
            "row_stats" => Some(Self::Stats),
            "work" => Some(Self::Work),
            "label_counts" => Some(Self::LabelCounts),
            "partials" => Some(Self::Partials),
            "row_states" => Some(Self::RowStates),
            "input_copy" => Some(Self::InputCopy),
            _ => Self::OF_CALLER.iter().copied().find(|tensor| tensor.name() == name),
        }
    }
}
