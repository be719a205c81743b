//! What the tests and the conformance runner share.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod conformance;
