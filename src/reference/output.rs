//! Output tensors: allocated without being written, filled by the threads that compute them, in parts.

use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{ArrayBase, ArrayD, ArrayViewMut, Axis, Data, Dimension, Ix3};

use super::Real;
use super::lanes::fill;

/// The part of an output that one task writes; it has the dimensions (N, C, D), or (N, 1, D) with one value per row.
pub(super) type Part<'a, T> = ArrayViewMut<'a, MaybeUninit<T>, Ix3>;

/// An output of the given shape that holds nothing yet.
pub(super) fn unwritten<T>(shape: &[usize]) -> ArrayD<MaybeUninit<T>> {
    let mut array = ArrayD::uninit(shape);
    use_large_pages(array.as_slice_mut().unwrap_or_default());
    array
}

/// The elements of a tensor in standard layout.
pub(super) fn elements<S: Data, D: Dimension>(dense: &ArrayBase<S, D>) -> &[S::Elem] {
    dense.as_slice().expect("standard layout")
}

/// Asks for large pages: with small ones, a fresh output of 100 MB takes the system longer to map than the loss to compute.
#[cfg(target_os = "linux")]
fn use_large_pages<T>(memory: &mut [MaybeUninit<T>]) {
    const PAGE: usize = 4096;
    const WORTH_IT: usize = 4 << 20;
    let bytes = memory.as_mut_ptr_range();
    let (first, end) = (bytes.start.addr().next_multiple_of(PAGE), bytes.end.addr() & !(PAGE - 1));
    if size_of_val(memory) >= WORTH_IT {
        // SAFETY: the pages lie within `memory`, and the advice changes nothing that they hold. It may be refused: no matter.
        unsafe { libc::madvise(bytes.start.with_addr(first).cast(), end - first, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn use_large_pages<T>(_: &mut [MaybeUninit<T>]) {}

/// Splits along an axis into parts of `step`.
fn split<T, D: Dimension>(whole: ArrayViewMut<'_, T, D>, axis: Axis, step: usize) -> Vec<ArrayViewMut<'_, T, D>> {
    let mut parts = Vec::with_capacity(whole.len_of(axis).div_ceil(step));
    let mut rest = whole;
    while rest.len_of(axis) > 0 {
        let size = step.min(rest.len_of(axis));
        let (part, tail) = rest.split_at(axis, size);
        parts.push(part);
        rest = tail;
    }
    parts
}

/// How far a part reaches along N and D: `step` rows of one n, or of several where D = 1.
fn reach(inner: usize, step: usize) -> [usize; 2] {
    if inner == 1 { [step, 1] } else { [1, step] }
}

/// The rows of each part of a tensor of N x D rows.
pub(super) fn ranges(outer: usize, inner: usize, step: usize) -> Vec<Range<usize>> {
    let [along_n, along_d] = reach(inner, step);
    let end = |n: usize, d: usize| (n + along_n - 1).min(outer - 1) * inner + (d + along_d).min(inner);
    let starts = (0..outer).step_by(along_n).flat_map(|n| (0..inner).step_by(along_d).map(move |d| (n, d)));
    starts.map(|(n, d)| n * inner + d..end(n, d)).collect()
}

/// A tensor (N, C, D) in the same parts; as many times `None` where there is none.
pub(super) fn parts<T>(
    tensor: Option<&mut ArrayD<MaybeUninit<T>>>,
    dims: [usize; 3],
    step: usize,
) -> Vec<Option<Part<'_, T>>> {
    let [along_n, along_d] = reach(dims[2], step);
    let Some(tensor) = tensor else {
        return (0..dims[0].div_ceil(along_n) * dims[2].div_ceil(along_d)).map(|_| None).collect();
    };
    let whole = tensor.view_mut().into_shape_with_order(dims).expect("a tensor of N C D elements");
    let slabs = split(whole, Axis(0), along_n);
    slabs.into_iter().flat_map(|slab| split(slab, Axis(2), along_d)).map(Some).collect()
}

/// The elements of a part whose rows are contiguous.
#[inline(always)]
pub(super) fn contiguous<T>(part: Part<'_, T>) -> &mut [MaybeUninit<T>] {
    part.into_slice().expect("rows side by side")
}

/// Memory that holds values.
///
/// # Safety
/// Every element has been written.
#[inline(always)]
pub(super) unsafe fn written<F>(memory: &mut [MaybeUninit<F>]) -> &mut [F] {
    // SAFETY: so the caller says, and the layout is the same.
    unsafe { &mut *(std::ptr::from_mut(memory) as *mut [F]) }
}

/// A row of a gradient, which holds nothing at first.
#[derive(Debug)]
pub struct GradRow<'a, F> {
    memory: &'a mut [MaybeUninit<F>],
    is_written: bool,
}

impl<'a, F: Real> GradRow<'a, F> {
    pub(super) fn new(memory: &'a mut [MaybeUninit<F>]) -> Self {
        Self { memory, is_written: false }
    }

    /// Its values; zeros if nothing has been written.
    #[inline(always)]
    pub fn values(&mut self) -> &mut [F] {
        if !self.is_written {
            self.memory.fill(MaybeUninit::new(F::zero()));
            self.is_written = true;
        }
        // SAFETY: it has been, at the latest now.
        unsafe { written(self.memory) }
    }

    /// Fills it with a value per class.
    #[inline(always)]
    pub(crate) fn fill<const K: usize>(&mut self, rows: [&[F]; K], value: impl Fn([F; K]) -> F) -> &mut [F] {
        let values = fill(self.memory, rows, value);
        self.is_written = true;
        values
    }

    /// What is to be filled; see [`set_written`](Self::set_written).
    #[inline(always)]
    pub(super) fn memory(&mut self) -> &mut [MaybeUninit<F>] {
        self.memory
    }

    /// Says that its memory has been filled.
    ///
    /// # Safety
    /// So it must have been, every element.
    #[inline(always)]
    pub(super) unsafe fn set_written(&mut self) {
        self.is_written = true;
    }
}
