//! Inputs and gradients in the type that they are stored in. Tasks widen what they read and narrow what they write, so that a call takes
//! no memory but that of its tensors.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::{bf16, f16};
use ndarray::{ArrayD, Axis};

use super::Real;
use super::lanes::written;
use super::output::{OutputPart, contiguous, parts};
use crate::problem::RowShape;
use crate::tensors::{Input, Sink};

/// A task's part of the gradient of an input.
pub(super) enum SinkPart<'a, F> {
    Plain(OutputPart<'a, F>),
    F16(OutputPart<'a, f16>),
    Bf16(OutputPart<'a, bf16>),
}

/// Between a stored type and the one that is computed in.
pub(super) trait Convert<F>: Copy {
    fn widen(self) -> F;
    /// The nearest value, ties to even.
    fn narrow(value: F) -> Self;
}

macro_rules! halves {
    ($($half:ty),*) => {$(
        impl<F: Real> Convert<F> for $half {
            #[inline(always)]
            fn widen(self) -> F {
                F::of(f64::from(self.to_f32()))
            }
            #[inline(always)]
            fn narrow(value: F) -> Self {
                // From f32, as kernels round; halves are stored for nothing wider.
                Self::from_f32(value.wide() as f32)
            }
        }
    )*};
}
halves!(f16, bf16);

impl<F: Real> Input<'_, F> {
    /// The first element for which this holds, and its place.
    pub(crate) fn find(&self, mut holds: impl FnMut(usize, F) -> bool) -> Option<(usize, F)> {
        match self {
            Self::Plain(values) => values.iter().copied().enumerate().find(|&(place, v)| holds(place, v)),
            Self::F16(values) => values.iter().map(|v| v.widen()).enumerate().find(|&(place, v)| holds(place, v)),
            Self::Bf16(values) => values.iter().map(|v| v.widen()).enumerate().find(|&(place, v)| holds(place, v)),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

impl<'a, F: Real> Sink<'a, F> {
    /// The parts of all tasks, as of [`parts`].
    pub(super) fn parts(self, dims: [usize; 3], step: usize) -> Vec<Option<SinkPart<'a, F>>> {
        fn each<'a, T, F>(
            array: &'a mut ArrayD<MaybeUninit<T>>,
            dims: [usize; 3],
            step: usize,
            wrap: fn(OutputPart<'a, T>) -> SinkPart<'a, F>,
        ) -> Vec<Option<SinkPart<'a, F>>> {
            parts(Some(array), dims, step).into_iter().map(|part| part.map(wrap)).collect()
        }
        match self {
            Self::Plain(array) => each(array, dims, step, SinkPart::Plain),
            Self::F16(array) => each(array, dims, step, SinkPart::F16),
            Self::Bf16(array) => each(array, dims, step, SinkPart::Bf16),
        }
    }

    /// All of it from elsewhere, in the same order.
    pub(super) fn fill(self, values: impl IntoIterator<Item = F>) {
        fn write<T>(array: &mut ArrayD<MaybeUninit<T>>, values: impl IntoIterator<Item = T>) {
            array.iter_mut().zip(values).for_each(|(to, value)| _ = to.write(value));
        }
        let values = values.into_iter();
        match self {
            Self::Plain(array) => write(array, values),
            Self::F16(array) => write(array, values.map(Convert::narrow)),
            Self::Bf16(array) => write(array, values.map(Convert::narrow)),
        }
    }
}

impl<F: Real> SinkPart<'_, F> {
    /// Rows of classes, one after the other, to where they belong.
    fn scatter(self, rows: &[F]) {
        fn write<T, F: Copy>(mut part: OutputPart<'_, T>, rows: &[F], convert: impl Fn(F) -> T) {
            let classes = part.len_of(Axis(1));
            if part.len_of(Axis(2)) == 1
                && let Some(part) = part.as_slice_mut()
            {
                return part.iter_mut().zip(rows).for_each(|(out, &value)| _ = out.write(convert(value)));
            }
            for (class, mut positions) in part.axis_iter_mut(Axis(1)).enumerate() {
                let values = rows[class..].iter().step_by(classes);
                positions.iter_mut().zip(values).for_each(|(out, &value)| _ = out.write(convert(value)));
            }
        }
        match self {
            Self::Plain(part) => write(part, rows, |value| value),
            Self::F16(part) => write(part, rows, Convert::narrow),
            Self::Bf16(part) => write(part, rows, Convert::narrow),
        }
    }

    /// Some neighbouring elements of a part that is contiguous.
    #[inline(always)]
    pub(super) fn write(&mut self, place: Range<usize>, values: &[F]) {
        fn each<T, F: Copy>(part: &mut OutputPart<'_, T>, place: Range<usize>, values: &[F], convert: impl Fn(F) -> T) {
            let to = part.as_slice_mut().expect("elements side by side");
            to[place].iter_mut().zip(values).for_each(|(to, &value)| _ = to.write(convert(value)));
        }
        match self {
            Self::Plain(part) => each(part, place, values, |value| value),
            Self::F16(part) => each(part, place, values, Convert::narrow),
            Self::Bf16(part) => each(part, place, values, Convert::narrow),
        }
    }
}

/// A task's part of a gradient while its rows are computed.
pub(super) enum Gradient<'a, F> {
    InPlace(&'a mut [MaybeUninit<F>]),
    /// Rows one after the other, and where they belong.
    Tile(Vec<MaybeUninit<F>>, SinkPart<'a, F>),
}

impl<'a, F: Real> Gradient<'a, F> {
    pub(super) fn open(part: SinkPart<'a, F>, rows: usize, shape: RowShape) -> Self {
        match part {
            SinkPart::Plain(part) if shape.inner == 1 => Self::InPlace(contiguous(part)),
            part => Self::Tile(vec![MaybeUninit::uninit(); rows * shape.classes], part),
        }
    }

    /// The rows, one after the other.
    #[inline(always)]
    pub(super) fn memory(&mut self) -> &mut [MaybeUninit<F>] {
        match self {
            Self::InPlace(memory) => memory,
            Self::Tile(tile, _) => tile,
        }
    }

    /// Writes a tile where it belongs.
    ///
    /// # Safety
    /// All of it has been filled.
    pub(super) unsafe fn close(self) {
        if let Self::Tile(mut tile, part) = self {
            // SAFETY: so the caller says.
            part.scatter(unsafe { written(&mut tile) });
        }
    }
}
