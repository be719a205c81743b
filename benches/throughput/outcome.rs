//! How a step of the bench ends: an error ends the run with its text.

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
