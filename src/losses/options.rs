//! Options by name, for callers that read them from a file.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::error::Error;
use crate::problem::Reduction;

/// The value of one option.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A tensor: weights.
    Tensor(ArrayD<f32>),
}

/// Named options of a loss, with the names of PyTorch's functional API.
///
/// ```
/// use deeploss::{LOSSES, OptionValue, Options};
/// let options = Options::from([("label_smoothing", OptionValue::Number(0.1))]);
/// let loss = (LOSSES[0].from_options)(&options)?;
/// assert_eq!(loss.info().name, "cross_entropy");
/// assert!((LOSSES[0].from_options)(&Options::from([("smooth", OptionValue::Number(0.1))])).is_err());
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
    /// Only the given names occur.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::value("options", format!("some of {known:?}"), name)),
            None => Ok(()),
        }
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<Option<f64>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(OptionValue::Number(value)) => Ok(Some(*value)),
            Some(other) => Err(Error::value(name, "a number", format!("{other:?}"))),
        }
    }

    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, Error> {
        match self.number(name)? {
            Some(value) if value.fract() != 0.0 || value.abs() > 9e15 => Err(Error::value(name, "an integer", value)),
            value => Ok(value.map(|v| v as i64)),
        }
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(OptionValue::Flag(value)) => Ok(Some(*value)),
            Some(other) => Err(Error::value(name, "yes or no", format!("{other:?}"))),
        }
    }

    pub(crate) fn tensor(&self, name: &'static str) -> Result<Option<&ArrayD<f32>>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(OptionValue::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => Err(Error::value(name, "a tensor", format!("{other:?}"))),
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        match self.0.get(name) {
            None => Ok(None),
            Some(OptionValue::Text(word)) => Ok(Some(word)),
            Some(other) => Err(Error::value(name, "a word", format!("{other:?}"))),
        }
    }

    pub(crate) fn reduction(&self) -> Result<Reduction, Error> {
        match self.text("reduction")? {
            None | Some("mean") => Ok(Reduction::Mean),
            Some("none") => Ok(Reduction::None),
            Some("sum") => Ok(Reduction::Sum),
            Some("batchmean") => Ok(Reduction::BatchMean),
            Some(other) => Err(Error::value("reduction", "none, mean, sum or batchmean", other)),
        }
    }
}
