//! Options by name, for callers that read them from a file, and checks of their values.

use std::collections::BTreeMap;

use super::Loss;
use super::weight::{Weight, WeightOption};
use crate::error::Error;
use crate::problem::Reduction;

/// The value of one option.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OptionValue {
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// Several integers.
    Integers(Vec<i64>),
    /// A tensor: weights.
    Tensor(Weight),
}

impl OptionValue {
    fn number(&self) -> Option<f64> {
        if let Self::Number(value) = self { Some(*value) } else { None }
    }
}

macro_rules! value_from {
    ($($type:ty: $variant:ident),*) => {$(
        impl From<$type> for OptionValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
value_from!(f64: Number, f32: Number, &str: Text, String: Text, bool: Flag, Vec<i64>: Integers, Weight: Tensor);

#[cfg(feature = "host")]
impl<D: ndarray::Dimension> From<ndarray::Array<f32, D>> for OptionValue {
    fn from(values: ndarray::Array<f32, D>) -> Self {
        Self::Tensor(values.into())
    }
}

/// Named options of a loss: the names of PyTorch's functional API, and those of the builder methods of what PyTorch
/// does not have.
///
/// ```
/// use deeploss::{LOSSES, Options};
///
/// let options = Options::from([("label_smoothing", 0.1.into()), ("reduction", "sum".into())]);
/// let loss = (LOSSES[0].from_options)(&options)?;
/// assert_eq!(loss.info().name, "cross_entropy");
/// assert!((LOSSES[0].from_options)(&Options::from([("smooth", 0.1.into())])).is_err());
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Options(BTreeMap<String, OptionValue>);

impl<const N: usize> From<[(&str, OptionValue); N]> for Options {
    fn from(pairs: [(&str, OptionValue); N]) -> Self {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl FromIterator<(String, OptionValue)> for Options {
    fn from_iter<I: IntoIterator<Item = (String, OptionValue)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Options {
    /// The loss that `make` reads; an option that it did not ask for is an error.
    pub(super) fn build<L: Loss + 'static>(
        &self,
        make: impl FnOnce(&mut Reader<'_>) -> Result<L, Error>,
    ) -> Result<Box<dyn Loss>, Error> {
        let mut reader = Reader { options: self, known: Vec::new() };
        let loss = make(&mut reader)?;
        let names: Vec<_> = reader.known.iter().map(|option| option.name).collect();
        match self.0.keys().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(Error::value("options", format!("some of {names:?}"), name)),
            None => Ok(Box::new(loss)),
        }
    }

    /// The options that `make` asks for.
    pub(super) fn known<L>(make: impl FnOnce(&mut Reader<'_>) -> Result<L, Error>) -> Vec<OptionInfo> {
        let mut reader = Reader { options: &Self::default(), known: Vec::new() };
        // Without options none can be wrong.
        drop(make(&mut reader));
        reader.known
    }
}

/// An option that a loss has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OptionInfo {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What holds without it; `None` if nothing does.
    pub default: Option<OptionValue>,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionKind {
    /// A number.
    Number,
    /// An integer.
    Integer,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Yes or no.
    Flag,
    /// Several integers.
    Integers,
    /// Weights.
    Tensor,
}

/// Reads options, and keeps what it was asked for.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    options: &'a Options,
    known: Vec<OptionInfo>,
}

impl<'a> Reader<'a> {
    fn get<T>(
        &mut self,
        name: &'static str,
        kind: OptionKind,
        default: Option<OptionValue>,
        convert: impl FnOnce(&'a OptionValue) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.known.push(OptionInfo { name, kind, default });
        let Some(value) = self.options.0.get(name) else { return Ok(None) };
        let expected = match kind {
            OptionKind::Number | OptionKind::Integer => "a number",
            OptionKind::Word(_) => "a word",
            OptionKind::Flag => "yes or no",
            OptionKind::Integers => "integers",
            OptionKind::Tensor => "a tensor",
        };
        convert(value).map(Some).ok_or_else(|| Error::value(name, expected, format!("{value:?}")))
    }

    fn number(&mut self, name: &'static str, default: Option<f32>) -> Result<Option<f64>, Error> {
        self.get(name, OptionKind::Number, default.map(OptionValue::from), OptionValue::number)
    }

    pub(super) fn integer(&mut self, name: &'static str, default: Option<i64>) -> Result<Option<i64>, Error> {
        let default = default.map(|value| OptionValue::Number(value as f64));
        match self.get(name, OptionKind::Integer, default, OptionValue::number)? {
            Some(value) if value.fract() != 0.0 || value.abs() > 9e15 => Err(Error::value(name, "an integer", value)),
            value => Ok(value.map(|v| v as i64)),
        }
    }

    pub(super) fn integers(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, Error> {
        let integers = |value: &OptionValue| if let OptionValue::Integers(v) = value { Some(v.clone()) } else { None };
        self.get(name, OptionKind::Integers, None, integers)
    }

    /// One of these words.
    pub(super) fn word(
        &mut self,
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
    ) -> Result<Option<&'a str>, Error> {
        let text = |value: &'a OptionValue| if let OptionValue::Text(v) = value { Some(v.as_str()) } else { None };
        match self.get(name, OptionKind::Word(words), Some(default.into()), text)? {
            Some(other) if !words.contains(&other) => {
                let [first @ .., last] = words else { return Ok(None) };
                Err(Error::value(name, format!("{} or {last}", first.join(", ")), other))
            }
            word => Ok(word),
        }
    }
}

/// A field of a loss that an option sets; without the option it keeps its default.
pub(super) trait OptionField {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error>;
}

impl OptionField for f32 {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let default = Some(*self).filter(|number| !number.is_nan());
        reader.number(name, default)?.into_iter().for_each(|value| *self = value as Self);
        Ok(())
    }
}

macro_rules! integer_field {
    ($($int:ty),*) => {$(
        impl OptionField for $int {
            fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
                if let Some(value) = reader.integer(name, i64::try_from(*self).ok())? {
                    *self = Self::try_from(value).map_err(|_| Error::value(name, "an integer >= 0", value))?;
                }
                Ok(())
            }
        }
    )*};
}
integer_field!(u32, usize);

impl OptionField for bool {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let flag = |value: &OptionValue| if let OptionValue::Flag(v) = value { Some(*v) } else { None };
        let flag = reader.get(name, OptionKind::Flag, Some((*self).into()), flag)?;
        flag.into_iter().for_each(|value| *self = value);
        Ok(())
    }
}

impl<T: OptionField + Default + Copy> OptionField for Option<T> {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut value = self.unwrap_or_default();
        value.read(name, reader)?;
        if let (None, Some(option)) = (*self, reader.known.last_mut()) {
            option.default = None;
        }
        if reader.options.0.contains_key(name) {
            *self = Some(value);
        }
        Ok(())
    }
}

impl OptionField for WeightOption {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let weight = |value: &OptionValue| if let OptionValue::Tensor(v) = value { Some(v.clone()) } else { None };
        let weight = reader.get(name, OptionKind::Tensor, None, weight)?;
        weight.into_iter().for_each(|weight| *self = Self::Host(weight));
        Ok(())
    }
}

impl OptionField for Reduction {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = match reader.word(name, &["none", "mean", "sum", "batchmean"], "mean")? {
            None => return Ok(()),
            Some("none") => Self::None,
            Some("sum") => Self::Sum,
            Some("batchmean") => Self::BatchMean,
            Some(_) => Self::Mean,
        };
        Ok(())
    }
}

/// A number, if it is finite.
pub(super) fn finite(name: &'static str, value: f32) -> Result<f32, Error> {
    if value.is_finite() { Ok(value) } else { Err(Error::value(name, "a finite number", value)) }
}

/// A number, if it is finite and > 0.
pub(super) fn positive(name: &'static str, value: f32) -> Result<f32, Error> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(Error::value(name, "a finite number > 0", value)) }
}

/// What kernels divide by a temperature T with: 1 / T, and the largest number whose quotient they can hold.
pub(super) fn quotient(t: f32) -> (f32, f32) {
    // A little less than the largest float, because 1 / T and the product are rounded.
    ((1.0 / t).min(f32::MAX), t.min(1.0) * f32::from_bits(f32::MAX.to_bits() - 8))
}

/// A number, if it is finite and >= 0.
pub(super) fn not_negative(name: &'static str, value: f32) -> Result<f32, Error> {
    if value >= 0.0 && value.is_finite() { Ok(value) } else { Err(Error::value(name, "a finite number >= 0", value)) }
}

/// A number, if it is in 0 ..= 1.
pub(super) fn share(name: &'static str, value: f32) -> Result<f32, Error> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(Error::value(name, "a number in 0 ..= 1", value)) }
}
