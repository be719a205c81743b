//! What the examples share: the digits, and a small network.

#![allow(dead_code, reason = "every example uses its own part")]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};

/// 1797 handwritten digits of 8x8 pixels in 0..=1, and their classes. Every fifth is kept for testing.
pub(crate) struct Digits {
    pub(crate) train: (Tensor<2>, Tensor<1, Int>),
    pub(crate) test: (Tensor<2>, Tensor<1, Int>),
}

impl Digits {
    /// From the data set of the crate's own examples, as `numpy.save` wrote it: bytes (N, 64 + 1), the class last.
    pub(crate) fn load(device: &Device) -> Self {
        const FILE: &[u8] = include_bytes!("../../../../examples/data/digits.npy");
        let header = 10 + usize::from(u16::from_le_bytes([FILE[8], FILE[9]]));
        let rows: Vec<&[u8]> = FILE[header..].chunks_exact(65).collect();
        let part = |test: bool| {
            let rows = rows.iter().enumerate().filter(|(number, _)| (number % 5 == 0) == test);
            let rows: Vec<&[u8]> = rows.map(|(_, row)| *row).collect();
            let pixels: Vec<f32> =
                rows.iter().flat_map(|row| &row[..64]).map(|&pixel| f32::from(pixel) / 16.0).collect();
            let labels: Vec<i32> = rows.iter().map(|row| i32::from(row[64])).collect();
            let count = labels.len();
            (
                Tensor::from_data(TensorData::new(pixels, [count, 64]), device),
                Tensor::from_data(TensorData::new(labels, [count]), device),
            )
        };
        Self { train: part(false), test: part(true) }
    }
}

/// Two layers.
#[derive(Module, Debug)]
pub(crate) struct Network {
    first: Linear,
    second: Linear,
}

impl Network {
    pub(crate) fn new(hidden: usize, device: &Device) -> Self {
        Self { first: LinearConfig::new(64, hidden).init(device), second: LinearConfig::new(hidden, 10).init(device) }
    }

    /// The logits (N, 10) of pixels (N, 64).
    pub(crate) fn forward(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.first.forward(pixels)))
    }

    /// The share of digits that it tells right.
    pub(crate) fn accuracy(&self, (pixels, labels): (Tensor<2>, Tensor<1, Int>)) -> f32 {
        let count = labels.dims()[0];
        let found = self.forward(pixels).argmax(1).reshape([count]);
        found.equal(labels).float().mean().into_scalar()
    }
}
