//! How tensors are stored. What depends on it is here.

use deeploss::internals::TensorId;
use deeploss::{Dtype, Problem};
use half::{bf16, f16};

/// How the input and its gradient are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    F32,
    F16,
    Bf16,
}

impl Storage {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::F16, Self::Bf16];
        all.into_iter().find(|s| s.name() == name).ok_or_else(|| format!("storage is f32, f16 or bf16, got `{name}`"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// A problem with input and gradient in this storage.
    pub(crate) fn ask(self, problem: Problem) -> Problem {
        let dtype = match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::Bf16,
        };
        problem.input_dtype(dtype).grad_dtype(dtype)
    }

    /// What one tensor of a call in this storage holds.
    pub(crate) fn of(self, tensor: TensorId) -> Self {
        match tensor {
            TensorId::Input | TensorId::GradInput => self,
            _ => Self::F32,
        }
    }

    /// The nearest value that can be stored.
    pub(crate) fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
        }
    }

    pub(crate) fn encode<'a>(self, values: impl IntoIterator<Item = &'a f32>) -> Vec<u8> {
        let values = values.into_iter();
        match self {
            Self::F32 => values.flat_map(|v| v.to_ne_bytes()).collect(),
            Self::F16 => values.flat_map(|v| f16::from_f32(*v).to_ne_bytes()).collect(),
            Self::Bf16 => values.flat_map(|v| bf16::from_f32(*v).to_ne_bytes()).collect(),
        }
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        match self {
            Self::F32 => bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Self::F16 => pairs().map(|b| f16::from_ne_bytes(b).to_f32()).collect(),
            Self::Bf16 => pairs().map(|b| bf16::from_ne_bytes(b).to_f32()).collect(),
        }
    }

    /// How far a stored result may be from the reference, for a tensor whose largest magnitude this is.
    pub(crate) fn tolerance(self, largest: f32) -> f32 {
        match self {
            Self::F32 => 1e-5 * largest,
            // One step of the fraction, and one of the subnormals.
            Self::F16 => largest / 1024.0 + f16::from_bits(1).to_f32(),
            Self::Bf16 => largest / 128.0,
        }
    }
}
