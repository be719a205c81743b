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
        match self.0.keys().find(|name| !reader.known.contains(&name.as_str())) {
            Some(name) => Err(Error::value("options", format!("some of {:?}", reader.known), name)),
            None => Ok(Box::new(loss)),
        }
    }
}

/// Reads options, and keeps the names that it was asked for.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    options: &'a Options,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn get<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        convert: impl FnOnce(&'a OptionValue) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.known.push(name);
        let Some(value) = self.options.0.get(name) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| Error::value(name, expected, format!("{value:?}")))
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Error> {
        self.get(name, "a number", |value| if let OptionValue::Number(v) = value { Some(*v) } else { None })
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Error> {
        match self.number(name)? {
            Some(value) if value.fract() != 0.0 || value.abs() > 9e15 => Err(Error::value(name, "an integer", value)),
            value => Ok(value.map(|v| v as i64)),
        }
    }

    pub(super) fn integers(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, Error> {
        self.get(name, "integers", |value| if let OptionValue::Integers(v) = value { Some(v.clone()) } else { None })
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, Error> {
        self.get(name, "a word", |value| if let OptionValue::Text(v) = value { Some(v.as_str()) } else { None })
    }
}

/// A field of a loss that an option sets; without the option it keeps its default.
pub(super) trait OptionField {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error>;
}

impl OptionField for f32 {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        reader.number(name)?.into_iter().for_each(|value| *self = value as Self);
        Ok(())
    }
}

macro_rules! integer_field {
    ($($int:ty),*) => {$(
        impl OptionField for $int {
            fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
                if let Some(value) = reader.integer(name)? {
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
        let flag =
            reader.get(name, "yes or no", |value| if let OptionValue::Flag(v) = value { Some(*v) } else { None })?;
        flag.into_iter().for_each(|value| *self = value);
        Ok(())
    }
}

impl<T: OptionField + Default> OptionField for Option<T> {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let mut value = T::default();
        value.read(name, reader)?;
        if reader.options.0.contains_key(name) {
            *self = Some(value);
        }
        Ok(())
    }
}

impl OptionField for WeightOption {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        let weight = reader
            .get(name, "a tensor", |value| if let OptionValue::Tensor(v) = value { Some(v.clone()) } else { None })?;
        weight.into_iter().for_each(|weight| *self = Self::Host(weight));
        Ok(())
    }
}

impl OptionField for Reduction {
    fn read(&mut self, name: &'static str, reader: &mut Reader<'_>) -> Result<(), Error> {
        *self = match reader.text(name)? {
            None => return Ok(()),
            Some("none") => Self::None,
            Some("mean") => Self::Mean,
            Some("sum") => Self::Sum,
            Some("batchmean") => Self::BatchMean,
            Some(other) => return Err(Error::value(name, "none, mean, sum or batchmean", other)),
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
