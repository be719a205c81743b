//! Shapes and strides of tensors that broadcast against each other.

use crate::error::Error;
use crate::problem::check_size;

/// A tensor that broadcasts against others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Its own shape.
    pub shape: Vec<usize>,
    /// Elements between neighbours along each of [`Broadcast::dims`]; 0 where it is broadcast.
    pub strides: [usize; 4],
}

impl Operand {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Element-wise tensors: the shape they broadcast to, and where each lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// The broadcast shape.
    pub shape: Vec<usize>,
    /// The same, neighbouring dimensions merged where every tensor allows it, outermost first.
    pub dims: [usize; 4],
    /// The input.
    pub input: Operand,
    /// The second input, or the mask.
    pub second: Option<Operand>,
    /// The target.
    pub target: Operand,
    /// Item weights.
    pub weight: Option<Operand>,
    /// Weights of the positive part.
    pub pos_weight: Option<Operand>,
}

impl Broadcast {
    /// Number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a tensor has the items' own shape.
    #[must_use]
    pub fn is_dense(&self, operand: &Operand) -> bool {
        operand.len() == self.items()
    }

    /// Broadcasts shapes as PyTorch does: aligned at the last dimension, 1 stretches.
    pub(crate) fn new(shapes: &[(&'static str, Option<&[usize]>)]) -> Result<Self, Error> {
        let rank = shapes.iter().filter_map(|(_, s)| s.map(<[usize]>::len)).max().unwrap_or(0);
        let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let mut shape = vec![1; rank];
        for (argument, given) in shapes {
            let Some(given) = given else { continue };
            for (out, size) in shape.iter_mut().zip(padded(given)) {
                match (*out, size) {
                    (a, b) if a == b => {}
                    (1, b) => *out = b,
                    (_, 1) => {}
                    _ => {
                        return Err(Error::Shape {
                            argument,
                            expected: format!("one that broadcasts with {:?}", shapes[0].1.unwrap_or_default()),
                            got: format!("{given:?}"),
                        });
                    }
                }
            }
        }
        check_size("input", &shape)?;
        // Merge neighbouring dimensions that every tensor either has or stretches; drop those of size 1.
        let has = |axis: usize| -> Vec<bool> {
            shapes.iter().map(|(_, s)| s.is_none_or(|s| padded(s)[axis] == shape[axis])).collect()
        };
        let mut merged: Vec<(usize, Vec<bool>)> = Vec::new();
        for axis in (0..rank).filter(|&axis| shape[axis] != 1) {
            match merged.last_mut() {
                Some((size, owners)) if *owners == has(axis) => *size *= shape[axis],
                _ => merged.push((shape[axis], has(axis))),
            }
        }
        if merged.len() > 4 {
            return Err(Error::Unsupported {
                what: format!("broadcasting along {} separate groups of dimensions", merged.len()),
                why: "kernels address four".into(),
                instead: "expand one of the tensors",
            });
        }
        let mut dims = [1; 4];
        let first = 4 - merged.len();
        merged.iter().enumerate().for_each(|(k, (size, _))| dims[first + k] = *size);
        let operand = |index: usize| {
            shapes[index].1.map(|own| {
                let mut strides = [0; 4];
                let mut step = 1;
                for (k, (size, owners)) in merged.iter().enumerate().rev() {
                    if owners[index] {
                        strides[first + k] = step;
                        step *= size;
                    }
                }
                Operand { shape: own.to_vec(), strides }
            })
        };
        let required = |index: usize| operand(index).unwrap_or(Operand { shape: Vec::new(), strides: [0; 4] });
        Ok(Self {
            dims,
            input: required(0),
            target: required(1),
            second: operand(2),
            weight: operand(3),
            pos_weight: operand(4),
            shape,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Broadcast;

    fn broadcast(input: &[usize], weight: &[usize]) -> Broadcast {
        Broadcast::new(&[
            ("input", Some(input)),
            ("target", Some(input)),
            ("second", None),
            ("weight", Some(weight)),
            ("pos_weight", None),
        ])
        .unwrap()
    }

    #[test]
    fn neighbouring_dimensions_merge_where_every_tensor_allows_it() {
        let channels = broadcast(&[2, 7, 3, 4], &[7, 1, 1]);
        assert_eq!(channels.dims, [1, 2, 7, 12]);
        assert_eq!(channels.input.strides, [0, 84, 12, 1]);
        assert_eq!(channels.weight.unwrap().strides, [0, 0, 1, 0]);

        let dense = broadcast(&[2, 7, 3, 4], &[2, 7, 3, 4]);
        assert_eq!((dense.dims, dense.input.strides), ([1, 1, 1, 168], [0, 0, 0, 1]));
        assert_eq!(broadcast(&[4, 7], &[]).weight.unwrap().strides, [0; 4]);
    }
}
