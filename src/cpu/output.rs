//! Output tensors: allocated without being written, filled by the threads that compute them, in parts.

use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{ArrayBase, ArrayD, ArrayViewMut, Axis, Data, Dimension, Ix3};

use crate::error::Error;
use crate::tensors::room_for;

/// The part of an output that one task writes; it has the dimensions (N, C, D), or (N, 1, D) with one value per row.
pub(super) type OutputPart<'a, T> = ArrayViewMut<'a, MaybeUninit<T>, Ix3>;

/// An output of the given shape that holds nothing yet.
///
/// # Errors
/// [`Error::Unsupported`] if the system has no memory for it.
pub(super) fn unwritten<T>(shape: &[usize]) -> Result<ArrayD<MaybeUninit<T>>, Error> {
    let count = shape.iter().product();
    let mut memory: Vec<MaybeUninit<T>> = room_for(count)?;
    // SAFETY: there is room for so many elements, and they need not hold anything.
    unsafe { memory.set_len(count) };
    use_large_pages(&mut memory);
    let array = ArrayD::from_shape_vec(shape, memory);
    array.map_err(|error| Error::Unsupported {
        what: format!("an array of shape {shape:?}"),
        why: error.to_string(),
        instead: "split the batch into several calls",
    })
}

/// The elements of a tensor in standard layout.
pub(super) fn elements<S: Data, D: Dimension>(dense: &ArrayBase<S, D>) -> &[S::Elem] {
    dense.as_slice().expect("standard layout")
}

/// Asks for large pages: with small ones, a fresh output of 100 MB takes the system longer to map than the loss to
/// compute.
#[cfg(target_os = "linux")]
fn use_large_pages<T>(memory: &mut [MaybeUninit<T>]) {
    const PAGE: usize = 4096;
    const WORTH_IT: usize = 4 << 20;
    let bytes = memory.as_mut_ptr_range();
    let (first, end) = (bytes.start.addr().next_multiple_of(PAGE), bytes.end.addr() & !(PAGE - 1));
    if size_of_val(memory) >= WORTH_IT {
        // SAFETY: the pages lie within `memory`, and the advice changes nothing that they hold. It may be refused: no
        // matter.
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
) -> Vec<Option<OutputPart<'_, T>>> {
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
pub(super) fn contiguous<T>(part: OutputPart<'_, T>) -> &mut [MaybeUninit<T>] {
    part.into_slice().expect("rows side by side")
}
